from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from serve.findings import phrase


class Form(BaseModel, extra="forbid"):
    count: int = 1
    share: float = 0.5

    @field_validator("share")
    @classmethod
    def _at_most_one(cls, share: float) -> float:
        if share > 1:
            raise ValueError("Share is above 1")
        return share


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"count": "many"}, "must be a whole number"),
        ({"count": 1.5}, "must be a whole number"),
        ({"share": []}, "must be a number"),
        ({"other": 1}, "is not a known field"),
        ({"share": 2}, "share is above 1"),
    ],
)
def test_a_finding_is_told_in_plain_words(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Form.model_validate(given)
    assert [phrase(found) for found in caught.value.errors()] == [told]
