from __future__ import annotations

import pytest

from serve.tenancy.principal import ROLES, Principal
from serve.tenancy.tenants import Limits


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("viewer", ["viewer"]), ("member", ["viewer", "member"]), ("admin", ["viewer", "member", "admin"])],
)
def test_a_role_may_what_those_below_it_may(role, allowed):
    principal = Principal("red", role, "key:x", Limits())
    assert [needed for needed in ROLES if principal.may(needed)] == allowed
