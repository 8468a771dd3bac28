"""The list of controllers."""

import pytest

from kubelite.api.auth.bootstrap_roles import defaults
from kubelite.api.registry.bootstrap import CALLER
from kubelite.control import CONTROLLERS

ROLES = {role.metadata.name: role for role in defaults().roles}
# The rights of the API server itself are no role's.
IDENTITIES = sorted({entry.identity for entry in CONTROLLERS} - {"", CALLER.user})


def test_no_two_controllers_have_one_name() -> None:
    names = [entry.name for entry in CONTROLLERS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("identity", IDENTITIES)
def test_every_controller_may_write_under_its_identity(identity: str) -> None:
    # The controllers that Kubernetes does not have are kubelite's own, and so are their roles.
    own = ROLES.get(f"kubelite:{identity}")
    rules = (own or ROLES[f"system:controller:{identity}"]).rules
    assert any(set(rule.verbs) - {"get", "list", "watch"} for rule in rules)
