"""Who may ask for admin access to devices, allocate them and report about them."""

from typing import Any

import pytest

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.rbac import RBAC
from kubelite.api.auth.tokens import NODE_NAME
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.rbac import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from kubelite.api.registry.admission.device_claims import LABEL, DeviceClaimAccess

CLAIMS, TEMPLATES = "resourceclaims.resource.k8s.io", "resourceclaimtemplates.resource.k8s.io"
STATUS_PATH = "resourceclaims.resource.k8s.io/status"
DRIVER = "gpu.example.com"
SPEAKER = "system:serviceaccount:gpu:driver"


def access(*rights: tuple[str, str, str], **labels: str) -> DeviceClaimAccess:
    """Return the plugin; `rights` are verbs, subresources and names."""
    rules = [
        PolicyRule(
            verbs=[verb],
            apiGroups=["resource.k8s.io"],
            resources=[f"resourceclaims/{what}"],
            resourceNames=[name] if name else [],
        )
        for verb, what, name in rights
    ]
    items = [
        Namespace(metadata=ObjectMeta(name="shop", labels=labels)),
        ClusterRole(metadata=ObjectMeta(name="r"), rules=rules),
        ClusterRoleBinding(
            metadata=ObjectMeta(name="b"),
            roleRef=RoleRef(kind="ClusterRole", name="r"),
            subjects=[
                Subject(kind="User", name="anna"),
                Subject(kind="ServiceAccount", name="driver", namespace="gpu"),
            ],
        ),
    ]
    lookup = FixedLookup(items)
    return DeviceClaimAccess(lookup, UnionAuthorizer(RBAC(lookup)))


def claim(*, admin: bool = False, **status: Any) -> dict[str, Any]:
    exactly = {"deviceClassName": "gpu", **({"adminAccess": True} if admin else {})}
    spec = {"devices": {"requests": [{"name": "a"}, {"name": "r", "exactly": exactly}]}}
    return {"metadata": {"name": "mine"}, "spec": spec, "status": status}


def allocation(node: str = "", **result: Any) -> dict[str, Any]:
    given = {"request": "r", "driver": DRIVER, "pool": "p", "device": "d", **result}
    found: dict[str, Any] = {"devices": {"results": [given]}}
    if node:
        only = {"key": "metadata.name", "operator": "In", "values": [node]}
        found["nodeSelector"] = {"nodeSelectorTerms": [{"matchFields": [only]}]}
    return found


@pytest.mark.parametrize("path", [CLAIMS, TEMPLATES])
async def test_admin_access_needs_a_label_of_the_namespace(ask: Any, path: str) -> None:
    item = claim(admin=True)
    if path == TEMPLATES:
        item = {"metadata": {"name": "mine"}, "spec": {"spec": item["spec"]}}
    refused = await ask(access(), path, item)
    assert refused.refusal.endswith(
        'resource.k8s.io "mine" is invalid: spec.devices.requests[1].adminAccess: Forbidden: '
        f"admin access to devices requires the `{LABEL}: true` label on the containing namespace"
    )
    assert refused.error.code == 422
    assert (await ask(access(**{LABEL: "false"}), path, item)).error is not None
    assert (await ask(access(**{LABEL: "true"}), path, item)).item
    assert (await ask(access(), CLAIMS, claim())).item


async def test_an_allocation_with_admin_access_needs_it_too(ask: Any) -> None:
    right = ("update", "binding", "")
    new = claim(allocation=allocation(adminAccess=True))
    refused = await ask(access(right), STATUS_PATH, new, old=claim())
    assert "status.allocation.devices.results[0].adminAccess: Forbidden" in refused.refusal
    assert (await ask(access(right, **{LABEL: "true"}), STATUS_PATH, new, old=claim())).item


async def test_allocating_and_reserving_need_the_right_to_bind(ask: Any) -> None:
    user = [{"resource": "pods", "name": "p", "uid": "1"}]
    given = allocation()
    for new, old in (
        (claim(allocation=given), claim()),
        (claim(), claim(allocation=given)),
        (claim(allocation=given, reservedFor=user), claim(allocation=given)),
    ):
        refused = await ask(access(), STATUS_PATH, new, old=old)
        assert (
            'changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", '
            'verb="update" permission: resourceclaims.resource.k8s.io is forbidden: User "anna" cannot update '
            'resource "resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope'
        ) in refused.refusal
        assert (await ask(access(("update", "binding", "")), STATUS_PATH, new, old=old)).item
    same = claim(allocation=given, reservedFor=[])
    assert (await ask(access(), STATUS_PATH, same, old=claim(allocation=given))).item


def report(**fields: Any) -> list[dict[str, Any]]:
    return [{"driver": DRIVER, "pool": "p", "device": "d", **fields}]


@pytest.mark.parametrize(
    ("right", "user", "node", "is_allowed"),
    [
        (("arbitrary-node:update", "driver", DRIVER), "anna", "", True),
        (("arbitrary-node:update", "driver", "other.example.com"), "anna", "", False),
        (("associated-node:update", "driver", DRIVER), "anna", "n0", False),
        (("associated-node:update", "driver", DRIVER), SPEAKER, "n0", True),
        (("associated-node:update", "driver", DRIVER), SPEAKER, "n1", False),
        (("update", "binding", ""), SPEAKER, "n0", False),
    ],
)
async def test_reports_need_the_right_for_the_driver(
    ask: Any, right: tuple[str, str, str], user: str, node: str, is_allowed: bool
) -> None:
    caller = Caller(user, ("system:authenticated",), extra={NODE_NAME: (node,)})
    old = claim(allocation=allocation("n0"), devices=report())
    new = claim(allocation=allocation("n0"), devices=report(data={"x": 1}))
    asked = await ask(access(right), STATUS_PATH, new, old=old, caller=caller)
    assert (asked.error is None) is is_allowed
    if not is_allowed:
        told = 'Forbidden: changing status.devices requires resource="resourceclaims/driver"'
        assert f"status.devices: {told}" in asked.refusal
    removed = claim(allocation=allocation("n0"))
    asked = await ask(access(right), STATUS_PATH, removed, old=old, caller=caller)
    assert (asked.error is None) is is_allowed


async def test_reports_that_stay_need_no_right(ask: Any) -> None:
    both = claim(allocation=allocation("n0"), devices=report())
    assert (await ask(access(), STATUS_PATH, both, old=both)).item
