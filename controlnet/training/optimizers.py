"""Optimizers: AdamW, and Muon (momentum made orthogonal) for a small network that has few steps to learn in."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def orthogonalize(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Return about U V^T of the singular value decomposition U S V^T of [n, m].

    Newton-Schulz iteration with the coefficients of Keller Jordan's Muon: singular values end near 1, not at 1.
    All iterates are a polynomial of G = X X^T times X, so only square matrices of the shorter side are
    multiplied on the way: 2.5 times fewer operations for a 3 x 3 convolution.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    product = eye
    for _ in range(iterations):
        polynomial = a * eye + b * gram + c * (gram @ gram)
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    x = product @ x
    result: Tensor = x.T if tall else x
    return result


class Muon(Optimizer):
    """Muon for matrices and convolutions, Adam for the rest: biases, norms, and groups that say so.

    A convolution's [out, in, k, k] is taken as the matrix [out, in * k * k]. The orthogonal update is scaled to
    the size of a typical Adam update (0.2 root mean square; Liu et al. 2025, arXiv:2502.16982, section 2.2), so
    both kinds share one learning rate. A group with `"orthogonal": False` is left to Adam; embeddings belong
    there, since a batch touches only some of their rows.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps, "orthogonal": True}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    orthogonal = group["orthogonal"] and parameter.ndim >= 2
                    update = self._muon(parameter, group) if orthogonal else self._adam(parameter, group)
                    parameter.add_(update, alpha=-group["lr"])
        return loss

    def _muon(self, parameter: nn.Parameter, group: dict[str, Any]) -> Tensor:
        grad, state = parameter.grad, self.state[parameter]
        assert grad is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(grad)
        state["momentum"].lerp_(grad, 1 - group["momentum"])
        matrix = grad.lerp(state["momentum"], group["momentum"]).flatten(1)
        update: Tensor = orthogonalize(matrix) * (0.2 * max(matrix.shape) ** 0.5)
        return update.view(parameter.shape)

    def _adam(self, parameter: nn.Parameter, group: dict[str, Any]) -> Tensor:
        grad, state = parameter.grad, self.state[parameter]
        assert grad is not None
        if "count" not in state:
            state["count"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(grad), torch.zeros_like(grad)
        first, second = group["betas"]
        state["count"] += 1
        count = float(state["count"])
        state["mean"].lerp_(grad, 1 - first)
        state["square"].mul_(second).addcmul_(grad, grad, value=1 - second)
        spread = (state["square"] / (1 - second**count)).sqrt_().add_(group["eps"])
        update: Tensor = state["mean"] / (1 - first**count) / spread
        return update


def make_optimizer(
    name: str, module: nn.Module, learning_rate: float, fast: dict[str, float] | None = None
) -> Optimizer:
    """Make an optimizer of a module's trainable parameters.

    Args:
        name: "muon", for few steps from scratch, or "adamw", the usual choice for a big pretrained model.
        module: what learns; its embeddings go to Adam in any case.
        learning_rate: of all parameters that `fast` does not name.
        fast: learning rates of parameters by the beginning of their name.

    Raises:
        ValueError: for another name.
    """
    if name not in ("muon", "adamw"):
        raise ValueError(f"optimizer is {name!r}; choose 'muon' or 'adamw'")
    embeddings = {id(p) for layer in module.modules() if isinstance(layer, nn.Embedding) for p in layer.parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for key, parameter in module.named_parameters():
        if parameter.requires_grad:
            rates = [rate for start, rate in (fast or {}).items() if key.startswith(start)]
            kind = (rates[0] if rates else learning_rate, id(parameter) not in embeddings)
            groups.setdefault(kind, []).append(parameter)
    if name == "muon":
        orthogonal = [{"params": p, "lr": rate, "orthogonal": flag} for (rate, flag), p in groups.items()]
        return Muon(orthogonal, learning_rate)
    plain = [{"params": p, "lr": rate} for (rate, _), p in groups.items()]
    # Not fused: Lightning refuses to clip the gradients of a fused optimizer under mixed precision.
    return torch.optim.AdamW(plain, learning_rate, betas=(0.9, 0.99), weight_decay=1e-2)
