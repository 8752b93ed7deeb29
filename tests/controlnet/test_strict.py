"""Strict loading."""

import pytest
import torch
from torch import nn

from controlnet.strict import CheckpointError, load_strict


def net() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def state() -> dict[str, torch.Tensor]:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).half().state_dict()


def test_a_net_on_the_meta_device_gets_the_tensors_themselves() -> None:
    built, weights = net(), state()
    load_strict(built, weights, what="x")
    assert built[0].weight.data_ptr() == weights["0.weight"].data_ptr()
    assert built[0].weight.dtype == torch.float16


def test_everything_at_fault_is_listed_in_order() -> None:
    weights = state()
    del weights["1.bias"], weights["0.bias"]
    weights |= {"z": torch.ones(1), "a": torch.ones(1), "0.weight": torch.ones(3, 3)}
    weights["1.weight"] = weights["1.weight"].int()
    with pytest.raises(CheckpointError) as error:
        load_strict(net(), weights, what="unet.safetensors")
    assert str(error.value) == "\n".join(
        [
            "unet.safetensors does not fit the model:",
            "  missing (2):",
            "    0.bias",
            "    1.bias",
            "  unexpected (2):",
            "    a",
            "    z",
            "  mis-shaped (1):",
            "    0.weight (3, 3), not (3, 2)",
            "  of another type (1):",
            "    1.weight torch.int32, not torch.float32",
        ]
    )


def test_a_refused_net_is_left_as_it_was() -> None:
    built = nn.Linear(2, 2)
    before = built.weight.clone()
    with pytest.raises(CheckpointError):
        load_strict(built, {"weight": torch.ones(2, 2)}, what="x")
    assert torch.equal(built.weight, before)
