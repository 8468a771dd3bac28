"""Whoever has a policy read params must be allowed to read them."""

from typing import Any

import pytest
from fakes.policed import BINDINGS, POLICIES
from fakes.server import Server

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Allowed, Caller
from kubelite.api.auth.rbac import RBAC
from kubelite.api.errors import Invalid
from kubelite.api.registry.admission.policies.param_access import PolicyParamAccess
from kubelite.api.registry.options import WriteOptions

JSON = dict[str, Any]
ALICE = Caller("alice", ("system:authenticated",))
RULE = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
USER = "user &{alice  [system:authenticated] map[]}"


@pytest.fixture
def server() -> Server:
    made = Server()
    authorizer = UnionAuthorizer(RBAC(made.mirrors))
    made.admit_by(PolicyParamAccess(made.mirrors, made.resources, authorizer))
    return made


def policy(kind: str = "Secret") -> JSON:
    spec = {
        "matchConstraints": {"resourceRules": [RULE]},
        "validations": [{"expression": "true"}],
        "paramKind": {"apiVersion": "v1", "kind": kind},
    }
    return {"metadata": {"name": "p"}, "spec": spec}


def binding(**reference: Any) -> JSON:
    reference = {"parameterNotFoundAction": "Deny", **reference}
    spec = {"policyName": "p", "validationActions": ["Deny"], "paramRef": reference}
    return {"metadata": {"name": "b"}, "spec": spec}


async def create_as_alice(server: Server, path: str, item: JSON) -> None:
    allowed = Allowed(ALICE, server.allowed("create", path).attributes)
    await server.verbs.create(allowed, item, WriteOptions())


async def grant(server: Server, *verbs: str, resource: str = "secrets") -> None:
    rbac = "rbac.authorization.k8s.io"
    rule = {"verbs": verbs, "apiGroups": [""], "resources": [resource]}
    await server.create(f"{rbac}/v1/clusterroles", {"metadata": {"name": "r"}, "rules": [rule]})
    subject = {"kind": "User", "apiGroup": rbac, "name": "alice"}
    role = {"kind": "ClusterRole", "apiGroup": rbac, "name": "r"}
    made = {"metadata": {"name": "r"}, "subjects": [subject], "roleRef": role}
    await server.create(f"{rbac}/v1/clusterrolebindings", made)


async def test_a_policy_needs_the_right_to_read_all_its_params(server: Server) -> None:
    with pytest.raises(Invalid) as refused:
        await create_as_alice(server, POLICIES, policy())
    assert refused.value.causes[0].path == "spec.paramKind"
    assert refused.value.causes[0].message == (
        f'Forbidden: {USER} must have "get" permission on all objects of the referenced paramKind '
        "(kind=Secret, apiVersion=v1)"
    )
    await grant(server, "get")
    await create_as_alice(server, POLICIES, policy())


@pytest.mark.parametrize(
    ("verb", "reference"), [("get", {"name": "s"}), ("list", {"selector": {}})]
)
async def test_a_binding_needs_the_right_to_read_its_params(
    server: Server, verb: str, reference: JSON
) -> None:
    with pytest.raises(Invalid) as refused:
        await create_as_alice(server, BINDINGS, binding(**reference))
    assert refused.value.causes[0].message == (
        f"Forbidden: unable to get policy p to determine minimum required permissions and {USER} does not "
        f'have "{verb}" permission for all groups, versions and resources'
    )
    await server.create(POLICIES, policy())
    with pytest.raises(Invalid) as refused:
        await create_as_alice(server, BINDINGS, binding(**reference))
    assert refused.value.causes[0].message == (
        f'Forbidden: {USER} does not have "{verb}" permission on the object referenced by paramRef'
    )
    await grant(server, verb)
    await create_as_alice(server, BINDINGS, binding(**reference))


async def test_what_has_not_changed_is_not_asked_again(server: Server) -> None:
    await server.create(POLICIES, policy())
    stored = server.get(POLICIES, "p")
    stored["spec"]["failurePolicy"] = "Ignore"
    allowed = Allowed(ALICE, server.allowed("update", POLICIES, "p").attributes)
    await server.verbs.update(allowed, stored, WriteOptions())
