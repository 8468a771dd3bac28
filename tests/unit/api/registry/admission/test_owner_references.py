from typing import Any

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.rbac import RBAC
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.rbac import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from kubelite.api.registry.admission.owner_references import OwnerReferencesPermissionEnforcement
from kubelite.api.registry.builtin import builtin_table


def plugin(*rules: PolicyRule) -> OwnerReferencesPermissionEnforcement:
    role = ClusterRole(metadata=ObjectMeta(name="r"), rules=list(rules))
    binding = ClusterRoleBinding(
        metadata=ObjectMeta(name="b"),
        roleRef=RoleRef(kind="ClusterRole", name="r"),
        subjects=[Subject(kind="User", name="anna")],
    )
    authorizer = UnionAuthorizer(RBAC(FixedLookup([role, binding])))
    return OwnerReferencesPermissionEnforcement(authorizer, builtin_table())


def rule(verb: str, group: str, resource: str) -> PolicyRule:
    return PolicyRule(verbs=[verb], apiGroups=[group], resources=[resource])


def pod(**owner: Any) -> dict[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "1", **owner}
    return {"metadata": {"name": "p", "ownerReferences": [reference]}}


PLAIN = {"metadata": {"name": "p"}}


async def test_owners_on_objects_that_one_may_delete(ask: Any) -> None:
    assert (await ask(plugin(), "pods", pod())).item
    refused = await ask(plugin(), "pods", pod(), old=PLAIN)
    assert "cannot set an ownerRef on a resource you can't delete" in refused.refusal
    assert (await ask(plugin(rule("delete", "", "pods")), "pods", pod(), old=PLAIN)).item
    assert (await ask(plugin(), "pods", pod(), old=pod())).item


async def test_blocking_owners(ask: Any) -> None:
    blocking = pod(blockOwnerDeletion=True)
    refused = await ask(plugin(), "pods", blocking)
    assert (
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set"
        in refused.refusal
    )
    assert (
        await ask(plugin(rule("update", "apps", "replicasets/finalizers")), "pods", blocking)
    ).item
    assert (await ask(plugin(rule("update", "*", "*/finalizers")), "pods", blocking)).item
    unknown = await ask(plugin(), "pods", pod(blockOwnerDeletion=True, kind="Nothing"))
    assert "cannot find RESTMapping for APIVersion apps/v1 Kind Nothing" in unknown.refusal
