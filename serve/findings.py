"""What pydantic finds wrong with what somebody wrote, in plain words: of a request, a setting, a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

_PHRASES: Mapping[str, str] = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "string_type": "must be a text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be names with values",
    "model_type": "must be names with values",
    "model_attributes_type": "must be names with values",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "too_long": "must have at most {max_length} items, not {actual_length}",
    "too_short": "must have at least {min_length} items, not {actual_length}",
    "literal_error": "must be {expected}",
    "extra_forbidden": "is not a known field",
    "missing": "is required",
}


def phrase(found: ErrorDetails | dict[str, Any]) -> str:
    """The bound that was broken, to be read after the name of what broke it; the value is not repeated.

    Args:
        found: One of `ValidationError.errors()`.
    """
    known = _PHRASES.get(found["type"])
    if known is not None:
        bounds = found.get("ctx", {}).items()
        return known.format(**{name: f"{bound:.12g}" if isinstance(bound, float) else bound for name, bound in bounds})
    message = found["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return message[:1].lower() + message[1:]
