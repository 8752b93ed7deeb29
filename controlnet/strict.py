"""Strict loading: a state dict fits a module to the last key, or all that doesn't fit is named.

A weight that was skipped in silence is a model that is wrong in silence; the original loads with `strict=False` and
hides every mismatch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn


class CheckpointError(ValueError):
    """A checkpoint can't be taken; the message says why, with every key that is at fault."""


def load_strict(net: nn.Module, state: Mapping[str, Tensor], *, what: str) -> None:
    """Give a module its weights. It may be on the meta device: the tensors become its own, with their dtype.

    Args:
        net: Any module.
        state: Its state dict, complete.
        what: What is loaded, for the error: a file's name, say.

    Raises:
        CheckpointError: Keys are missing, unexpected, of another shape or kind of number. All of them are listed.
    """
    check(net.state_dict(), state, what=what)
    net.load_state_dict(state, assign=True)


def check(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], *, what: str) -> None:
    """Compare a state dict with the one it should be (which may be on the meta device).

    Raises:
        CheckpointError: As for `load_strict`.
    """
    both = expected.keys() & state.keys()
    shapes = {key: (tuple(state[key].shape), tuple(expected[key].shape)) for key in both}
    refuse(
        f"{what} does not fit the model",
        missing=expected.keys() - state.keys(),
        unexpected=state.keys() - expected.keys(),
        mis_shaped=(f"{key} {found}, not {wanted}" for key, (found, wanted) in shapes.items() if found != wanted),
        mistyped=(
            f"{key} {state[key].dtype}, not {expected[key].dtype}"
            for key in both
            if state[key].is_floating_point() != expected[key].is_floating_point()
        ),
    )


def refuse(
    sentence: str,
    *,
    missing: Iterable[str] = (),
    unexpected: Iterable[str] = (),
    mis_shaped: Iterable[str] = (),
    mistyped: Iterable[str] = (),
) -> None:
    """Raise if any of the groups holds something.

    Raises:
        CheckpointError: The sentence, and each group that isn't empty: its name, its count and all its keys, sorted.
    """
    groups = {
        "missing": missing,
        "unexpected": unexpected,
        "mis-shaped": mis_shaped,
        "of another type": mistyped,
    }
    listed = {name: sorted(keys) for name, keys in groups.items()}
    if any(listed.values()):
        lines = [
            f"  {name} ({len(keys)}):\n" + "\n".join(f"    {key}" for key in keys)
            for name, keys in listed.items()
            if keys
        ]
        raise CheckpointError("\n".join([f"{sentence}:", *lines]))
