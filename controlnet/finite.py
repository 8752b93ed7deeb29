"""Values that are not finite: half precision overflows where single precision does not, and NaN looks black."""

from __future__ import annotations

import torch
from torch import Tensor


class NotFinite(ArithmeticError):
    """A network gave NaN or infinity; the message names it."""

    def __init__(self, network: str, dtype: torch.dtype) -> None:
        super().__init__(
            f"The {network} gives values that are not finite (NaN or infinity) in {str(dtype).removeprefix('torch.')}."
        )
        self.network = network
        self.dtype = dtype

    def __reduce__(self) -> tuple[type[NotFinite], tuple[str, torch.dtype]]:
        """Errors cross processes: build it from its parts again."""
        return type(self), (self.network, self.dtype)


def finite(batch: Tensor) -> Tensor:
    """Whether all values of each item of a batch [B, ...] are finite: bool [B]."""
    return torch.isfinite(batch).flatten(1).all(1)
