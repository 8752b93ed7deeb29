"""Samplers as tables: which timesteps to visit, and four numbers for each step.

A step asks the UNet for the clean latent x0 that it sees in x, then moves. For every sampler here
that move is linear in what is known, so one pure function does a step for any mix of them:

    x' = c0 * x  +  c1 * x0  +  c2 * x0 of the step before  +  c3 * fresh noise

A `Plan` holds the timesteps and the c's. Write alpha = sqrt(a_t) and sigma = sqrt(1 - a_t) for the
share of picture and of noise in x, with a_t the schedule's `alphas_cumprod`; a prime marks the
level that a step arrives at. Tables are computed in float64 and kept in float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from controlnet.diffusion import Schedule


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sampler does, decided before it starts.

    Attributes:
        timesteps: int64 [S], in the order of visiting: noisy first.
        coefficients: float32 [S,4], the c0..c3 of each step.
    """

    timesteps: Tensor
    coefficients: Tensor


def advance(x: Tensor, x0: Tensor, previous_x0: Tensor, noise: Tensor, coefficients: Tensor) -> Tensor:
    """Take one step with each row of a batch.

    Args:
        x: Noisy latents [R,C,h,w].
        x0: Clean latents that the UNet sees in `x` (`Schedule.to_x0`, after guidance).
        previous_x0: `x0` of the step before. At a row's first step any finite values, as zeros.
        noise: Standard normal. Any finite values where c3 is zero.
        coefficients: Each row's line of its own plan [R,4].

    Returns:
        The latents at the next timestep, or the picture's after the last step.
    """
    c0, c1, c2, c3 = rearrange(coefficients, "r c -> c r 1 1 1")
    moved: Tensor = c0 * x + c1 * x0 + c2 * previous_x0 + c3 * noise
    return moved


def ddim(schedule: Schedule, steps: int, eta: float = 0.0, timesteps: Literal["exact", "original"] = "exact") -> Plan:
    """Denoising diffusion implicit models (Song et al. 2021, equations 12 and 16).

    The level after the last step is a_0 and not 1, as in the original.

    Args:
        schedule: The noise levels.
        steps: How many steps; in mode "original" how many are asked for.
        eta: Fresh noise, from 0 (none: the same x gives the same picture) to 1 (as DDPM).
        timesteps: "exact" visits `steps` timesteps (as diffusers' `DDIMScheduler` with "leading"
            spacing, `steps_offset=1` and `set_alpha_to_one=False`). "original" visits the list
            of the original code, which has more: asked for 7 steps it takes 8.

    Raises:
        ValueError: If there is no such plan: see `exact_timesteps` and `original_timesteps`.
    """
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta is {eta}: choose 0..1")
    match timesteps:
        case "exact":
            visited = exact_timesteps(schedule, steps)
        case "original":
            visited = original_timesteps(schedule, steps)
        case _:
            raise ValueError(f"timesteps is {timesteps!r}: choose 'exact' or 'original'")

    a = schedule.alphas_cumprod[visited]
    a_next = torch.cat([a[1:], schedule.alphas_cumprod[:1]])
    fresh = eta * ((1 - a_next) / (1 - a) * (1 - a / a_next)).sqrt()
    # x0 and the noise that x implies, x = alpha x0 + sigma noise, mixed anew for the next level.
    kept = (1 - a_next - fresh**2).sqrt() / (1 - a).sqrt()
    return _plan(visited, kept, a_next.sqrt() - kept * a.sqrt(), torch.zeros_like(a), fresh)


def euler(schedule: Schedule, steps: int) -> Plan:
    """Euler's method on the probability flow (Karras et al. 2022, algorithm 1 without churn).

    In the variable x / alpha a step is a straight line from noise level sigma / alpha to the next
    and the last one ends at level 0. Written in x that is DDIM without fresh noise, except that
    the last step lands on x0 itself.

    Equals diffusers' `EulerDiscreteScheduler` with "leading" spacing and `steps_offset=1`, whose
    latents are ours divided by alpha.

    Raises:
        ValueError: If `steps` is out of range: see `exact_timesteps`.
    """
    visited = exact_timesteps(schedule, steps)
    alpha, sigma = _levels(schedule, visited)
    kept = sigma[1:] / sigma[:-1]
    zeros = torch.zeros_like(kept)
    return _plan(visited, kept, alpha[1:] - kept * alpha[:-1], zeros, zeros)


def dpmpp_2m(schedule: Schedule, steps: int) -> Plan:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): x0 extrapolated from the last two.

    The first step has nothing to extrapolate from, and the last lands on x0 itself; both are of
    first order.

    Equals diffusers' `DPMSolverMultistepScheduler` with its default `dpmsolver++`, order 2,
    "midpoint" and `lower_order_final`, with "leading" spacing and `steps_offset=1`. Its leading
    timesteps are not DDIM's: it spaces `steps` + 1 of them and leaves out the last, t = 1.

    Raises:
        ValueError: If `steps` is not in 1..`schedule.config.timesteps` - 2.
    """
    _require_steps(steps, schedule.config.timesteps - 2)
    visited = exact_timesteps(schedule, steps + 1)[:-1]
    alpha, sigma = _levels(schedule, visited)
    log_snr = alpha.log() - sigma.log()  # half of it; lambda in the paper. Infinite at the end
    h = log_snr.diff()
    weight = -alpha[1:] * torch.expm1(-h)  # of the extrapolated x0
    lean = torch.zeros_like(h)  # how far to extrapolate: 1 / (2 r) in the paper
    lean[1:-1] = h[1:-1] / (2 * h[:-2])
    return _plan(visited, sigma[1:] / sigma[:-1], weight * (1 + lean), -weight * lean, torch.zeros_like(h))


SAMPLERS: Mapping[str, Callable[..., Plan]] = MappingProxyType({"ddim": ddim, "dpmpp_2m": dpmpp_2m, "euler": euler})
"""By the name that users give. Each takes a schedule and a number of steps."""


def exact_timesteps(schedule: Schedule, steps: int) -> Tensor:
    """Return `steps` evenly spaced timesteps, noisy first, the last of them 1.

    The spacing is `timesteps // steps`, so the first lies below the end of the schedule: 20 steps
    of 1000 begin at 951. Stable Diffusion 1.x was published with this list.

    Raises:
        ValueError: If `steps` is not in 1..`schedule.config.timesteps` - 1.
    """
    length = schedule.config.timesteps
    _require_steps(steps, length - 1)
    return torch.arange(steps).flip(0) * (length // steps) + 1


def original_timesteps(schedule: Schedule, steps: int) -> Tensor:
    """Return the original code's list: every `timesteps // steps`-th, however many those are.

    Raises:
        ValueError: If the list would hold the timestep after the last (3, 9, 27, 36, 37, 101..111
            and others of 1000): the original fails there with an IndexError.
    """
    length = schedule.config.timesteps
    _require_steps(steps, length - 1)
    spacing = length // steps
    visited = torch.arange(0, length, spacing).flip(0) + 1
    if visited[0] == length:
        raise ValueError(
            f"steps is {steps}: a spacing of {spacing} from timestep 1 on reaches {length}, and the schedule "
            f"ends at {length - 1}; choose another count, or timesteps='exact'"
        )
    return visited


def _require_steps(steps: int, most: int) -> None:
    if not 1 <= steps <= most:
        raise ValueError(f"steps is {steps}: choose 1..{most}")


def _levels(schedule: Schedule, visited: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma [S+1] at the visited timesteps and, last, without any noise."""
    a = torch.cat([schedule.alphas_cumprod[visited], torch.ones(1, dtype=torch.float64)])
    return a.sqrt(), (1 - a).sqrt()


def _plan(visited: Tensor, c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor) -> Plan:
    return Plan(visited, torch.stack([c0, c1, c2, c3], dim=1).float())
