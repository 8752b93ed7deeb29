import pytest
import torch
from torch import nn

from controlnet.training.optimizers import Muon, make_optimizer, orthogonalize


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_orthogonalize_brings_singular_values_near_one_and_keeps_directions(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalize(matrix) @ v.T
    assert ((inner.diagonal() > 0.5) & (inner.diagonal() < 1.5)).all()
    assert (inner - inner.diagonal().diag()).abs().max() < 1e-3


def test_a_matrix_moves_by_a_fifth_of_the_rate():
    weight = nn.Parameter(torch.zeros(16, 4, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    Muon([weight], lr=1.0).step()
    assert weight.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.3)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_both_optimizers_fit_a_line(name):
    torch.manual_seed(0)
    module = nn.Linear(4, 4)
    optimizer = make_optimizer(name, module, 0.03)
    x, wanted = torch.randn(64, 4), torch.randn(4, 4)
    before = loss = (module(x) - x @ wanted).square().mean()
    for _ in range(200):
        loss = (module(x) - x @ wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.02 * before


def test_embeddings_are_left_to_adam_and_names_can_have_rates_of_their_own():
    module = nn.ModuleDict({"words": nn.Embedding(4, 4), "zero": nn.Linear(4, 4), "trunk": nn.Linear(4, 4)})
    groups = make_optimizer("muon", module, 1e-3, fast={"zero.": 1e-2}).param_groups
    found = {(group["lr"], group["orthogonal"]): sum(p.numel() for p in group["params"]) for group in groups}
    assert found == {(1e-3, False): 16, (1e-2, True): 20, (1e-3, True): 20}


def test_an_unknown_optimizer_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'sgd'.*'muon' or 'adamw'"):
        make_optimizer("sgd", nn.Linear(1, 1), 1e-3)
