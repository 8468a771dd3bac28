"""Validating policies in a server: what they see, and what their denials do."""

import subprocess
import sys
from typing import Any

import pytest
from fakes.policed import BINDINGS, POLICIES, Policed

from kubelite.api.errors import APIError
from kubelite.api.kinds.core.options import PodExecOptions
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.shaping.go import GoShape
from kubelite.api.registry.options import WriteOptions
from kubelite.limits import EXPRESSIONS_ON_LOOP, INLINE_WORK

JSON = dict[str, Any]
MAPS = "v1/configmaps"


def config_map(name: str = "a", data: JSON | None = None, **labels: str) -> JSON:
    return {"metadata": {"name": name, "labels": labels}, "data": data or {"a": "1"}}


async def denial(server: Policed, item: JSON | None = None, path: str = MAPS) -> APIError:
    with pytest.raises(APIError) as refused:
        await server.create(path, item or config_map())
    return refused.value


def reason_of(error: APIError) -> str:
    return error.message.partition(" denied request: ")[2]


async def test_a_denial_is_worded_as_upstream(server: Policed) -> None:
    await server.policy({"expression": "false", "message": " no way "})
    await server.create(MAPS, config_map("free"))  # it has no binding yet
    await server.bind()
    error = await denial(server)
    text = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no way"
    assert error.message == f'configmaps "a" is forbidden: {text}'
    assert (error.code, error.reason) == (422, "Invalid")
    assert [cause.message for cause in error.causes] == [text]
    assert server.names(MAPS) == ["free"]


async def test_a_policy_is_in_effect_from_its_write_to_its_deletion(server: Policed) -> None:
    await server.policy("object.data.a != '1'")
    await server.bind()
    await denial(server)
    policy = server.get(POLICIES, "p")
    policy["spec"]["validations"][0]["expression"] = "object.data.a == '1'"
    await server.update(POLICIES, "p", policy)
    await server.create(MAPS, config_map())
    await denial(server, config_map("b", {"a": "2"}))
    await server.delete(BINDINGS, "b")
    await server.create(MAPS, config_map("b", {"a": "2"}))


@pytest.mark.parametrize(
    ("validation", "code", "text"),
    [
        ({"expression": "false", "reason": "Forbidden"}, 403, "failed expression: false"),
        ({"expression": "false", "reason": "RequestEntityTooLarge"}, 413, None),
        ({"expression": "false", "messageExpression": "'x' + object.data.a"}, 422, "x1"),
        ({"expression": "false", "messageExpression": "object.data.z", "message": "m"}, 422, "m"),
        ({"expression": "false", "messageExpression": "'a\\nb'"}, 422, "failed expression: false"),
        ({"expression": "false", "messageExpression": "' '", "message": "m"}, 422, "m"),
        (
            {"expression": "object.data.z == '1'"},
            422,
            "expression 'object.data.z == '1'' resulted in error: no such key: z",
        ),
    ],
)
async def test_reasons_and_messages(
    server: Policed, validation: JSON, code: int, text: str | None
) -> None:
    if validation.get("messageExpression") == "object.data.z":
        validation["messageExpression"] = "string(object.data.z)"
    await server.policy(validation)
    await server.bind()
    error = await denial(server)
    assert error.code == code
    if text is not None:
        assert reason_of(error) == text


async def test_actions(server: Policed) -> None:
    await server.policy("false")
    await server.bind("Warn", "Audit")
    server.annotations.clear()
    written = await server.verbs.create(
        server.allowed("create", MAPS), config_map(), WriteOptions()
    )
    assert list(written.warnings) == [
        "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': failed expression: false"
    ]
    assert server.annotations == {
        "validation.policy.admission.k8s.io/validation_failure": (
            '[{"message":"failed expression: false","policy":"p","binding":"b","expressionIndex":0,'
            '"validationActions":["Warn","Audit"]}]'
        )
    }


async def test_audit_annotations(server: Policed) -> None:
    expressions = {
        "text": "'x' + object.data.a",
        "nothing": "null",
        "empty": "' '",
    }
    await server.policy(
        auditAnnotations=[
            {"key": key, "valueExpression": value} for key, value in expressions.items()
        ]
    )
    await server.bind()
    server.annotations.clear()
    await server.create(MAPS, config_map())
    assert server.annotations == {"p/text": "x1"}


async def test_an_audit_annotation_without_a_value_refuses(server: Policed) -> None:
    value = {"key": "k", "valueExpression": "string(object.data.z)"}
    await server.policy(auditAnnotations=[value])
    await server.bind("Audit")
    assert "no such key: z" in (await denial(server)).message


@pytest.mark.parametrize(
    "spec",
    [
        {"validations": [{"expression": "object.data.z == '1'"}]},
        {"matchConditions": [{"name": "m", "expression": "object.data.z == '1'"}]},
        {"auditAnnotations": [{"key": "k", "valueExpression": "string(object.data.z)"}]},
        {"paramKind": {"apiVersion": "example.com/v1", "kind": "Gone"}},
    ],
)
async def test_failures_are_ignored_if_the_policy_says_so(server: Policed, spec: JSON) -> None:
    await server.policy("true", **spec)
    await server.bind()
    await denial(server)
    await server.delete(POLICIES, "p")
    await server.policy("true", failurePolicy="Ignore", **spec)
    await server.create(MAPS, config_map())


async def test_match_conditions(server: Policed) -> None:
    conditions = [
        {"name": "broken", "expression": "object.data.z == '1'"},
        {"name": "mine", "expression": "object.metadata.name == 'mine'"},
    ]
    await server.policy("false", matchConditions=conditions)
    await server.bind()
    await server.create(MAPS, config_map())  # one that is false decides, whatever fails
    assert "no such key: z" in (await denial(server, config_map("mine"))).message


async def test_variables_are_evaluated_when_they_are_needed(server: Policed) -> None:
    variables = [
        {"name": "broken", "expression": "object.data.z"},
        {"name": "a", "expression": "object.data.a"},
        {"name": "twice", "expression": "variables.a + variables.a"},
    ]
    await server.policy(
        "variables.twice == '11' || variables.broken == 'x'",
        "has(variables.a) && !has(object.data.z)",
        variables=variables,
    )
    await server.bind()
    await server.create(MAPS, config_map())
    assert reason_of(await denial(server, config_map("b", {"a": "2"}))) == (
        "expression 'variables.twice == '11' || variables.broken == 'x'' resulted in error: "
        'composited variable "broken" fails to evaluate: no such key: z'
    )


async def test_what_expressions_see(server: Policed) -> None:
    checks = (
        "request.operation == 'CREATE' && request.kind.kind == 'ConfigMap'",
        "request.userInfo.username == 'admin' && 'system:masters' in request.userInfo.groups",
        "request.namespace == 'default' && request.name == 'a' && !request.dryRun",
        "namespaceObject.metadata.labels.team == 'blue' && namespaceObject.metadata.name == 'default'",
        "oldObject == null && object.kind == 'ConfigMap' && object.apiVersion == 'v1'",
        "authorizer.group('').resource('pods').namespace('x').check('get').allowed()",
        "!authorizer.serviceAccount('x', 'y').group('').resource('pods').check('get').allowed()",
        "authorizer.requestResource.check('create').allowed()",
        "authorizer.path('/healthz').check('get').allowed()",
    )
    for index, check in enumerate(checks):
        await server.policy(check, name=f"p{index}")
        await server.bind(policy=f"p{index}", name=f"b{index}")
    await server.create(MAPS, config_map())


async def test_deletions_and_updates(server: Policed) -> None:
    await server.create(MAPS, config_map())
    await server.policy(
        "request.operation != 'DELETE' || oldObject.data.a == '2' && object == null",
        "request.operation != 'UPDATE' || oldObject.data.a < object.data.a",
    )
    await server.bind()
    with pytest.raises(APIError, match="denied request"):
        await server.delete(MAPS, "a")
    with pytest.raises(APIError, match="denied request"):
        await server.patch(MAPS, "a", {"data": {"a": "0"}})
    await server.patch(MAPS, "a", {"data": {"a": "2"}})
    await server.delete(MAPS, "a")


async def test_a_scale_is_judged_as_a_scale(server: Policed) -> None:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    await server.create("apps/v1/deployments", {"metadata": {"name": "web"}, "spec": spec})
    rule = {"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"]}
    constraints = {"resourceRules": [{**rule, "resources": ["deployments/scale"]}]}
    await server.policy(
        "object.kind == 'Scale' && object.spec.replicas < 5", matchConstraints=constraints
    )
    await server.bind()
    await server.patch("apps/v1/deployments/scale", "web", {"spec": {"replicas": 3}})
    with pytest.raises(APIError, match="denied request"):
        await server.patch("apps/v1/deployments/scale", "web", {"spec": {"replicas": 5}})


async def test_no_policy_keeps_others_from_being_mended(server: Policed) -> None:
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    await server.policy("false", matchConstraints={"resourceRules": [rule]})
    await server.bind()
    await denial(server)
    await server.patch(POLICIES, "p", {"metadata": {"labels": {"a": "b"}}})
    await server.delete(BINDINGS, "b")
    await server.delete(POLICIES, "p")


async def test_a_binding_narrows_its_policy(server: Policed) -> None:
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"]}
    named = {**rule, "resources": ["*"], "resourceNames": ["a", "b"]}
    excluded = {**rule, "resources": ["*"], "resourceNames": ["b"]}
    match = {"resourceRules": [named], "excludeResourceRules": [excluded]}
    await server.policy("false")
    await server.bind(matchResources={**match, "objectSelector": {"matchLabels": {"app": "web"}}})
    for item in (config_map("c", app="web"), config_map("b", app="web"), config_map("a")):
        await server.create(MAPS, item)
    with pytest.raises(APIError, match="denied request"):
        await server.patch(MAPS, "a", {"metadata": {"labels": {"app": "web"}}})


async def test_an_expression_that_costs_too_much_is_broken_off(server: Policed) -> None:
    loop = "[0,1,2,3,4,5,6,7,8,9]"
    bomb = f"{loop}.all(a, {loop}.all(b, {loop}.all(c, {loop}.all(d, {loop}.all(e, {loop}.all(f, "
    bomb += "a + b + c + d + e + f < 100))))))"
    await server.policy(bomb)
    await server.bind()
    error = await denial(server)
    assert "operation cancelled: actual cost limit exceeded" in error.message
    assert server.offload.costs[-1] > INLINE_WORK.value


async def test_a_policy_has_a_budget_for_all_its_expressions(server: Policed) -> None:
    loop = "[0,1,2,3,4,5,6,7,8,9]"
    costly = f"{loop}.all(a, {loop}.all(b, {loop}.all(c, {loop}.all(d, {loop}.all(e, a < 100)))))"
    await server.policy(*(f"{costly} || {index} == 0" for index in range(30)))
    await server.bind()
    assert reason_of(await denial(server)) == (
        "validation failed due to running out of cost budget, no further validation rules will be run"
    )


async def test_large_objects_and_authorization_checks_leave_the_loop(server: Policed) -> None:
    await server.policy("object.metadata.name != 'z'")
    await server.bind()
    await server.create(MAPS, config_map())
    compiled = len(server.offload.costs)
    assert all(cost <= INLINE_WORK.value for cost in server.offload.costs)
    data = {"k": "v" * 32 * EXPRESSIONS_ON_LOOP.value}
    await server.create(MAPS, config_map("large", data))
    assert server.offload.costs[compiled:] == [INLINE_WORK.value + 1]


async def test_decisions_are_made_on_the_loop_alone(server: Policed) -> None:
    data = {"k": "v" * 32 * EXPRESSIONS_ON_LOOP.value}
    await server.policy(
        "authorizer.group('').resource('pods').check('get').allowed() && "
        "authorizer.group('').resource('nodes').check('get').allowed()"
    )
    await server.bind()
    await server.create(MAPS, config_map("large", data))
    # The first two attempts stop where a decision is missing, the third has both.
    assert server.offload.costs[-3:] == [INLINE_WORK.value + 1] * 3
    await server.create(MAPS, config_map("small"))
    # What costs much though it is quick was decided on the loop before.
    assert server.offload.costs[-4:] == [INLINE_WORK.value + 1] * 4


async def test_connections_are_judged(server: Policed) -> None:
    rule = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"]}
    constraints = {"resourceRules": [{**rule, "resources": ["pods/exec"]}]}
    check = "object.kind == 'PodExecOptions' && object.container != 'secret'"
    await server.policy(check, matchConstraints=constraints)
    await server.bind()
    pods, form = server.resources.of(Pod), GoShape(PodExecOptions)
    options = {"kind": "PodExecOptions", "apiVersion": "v1", "container": "web"}
    allowed = server.allowed("create", "v1/pods/exec", "p")
    await server.verbs.connect(allowed, pods, options, form)
    with pytest.raises(APIError, match="denied request"):
        await server.verbs.connect(allowed, pods, {**options, "container": "secret"}, form)


def test_expressions_are_not_imported_before_a_binding_exists() -> None:
    code = (
        "import sys, kubelite.control_plane; "
        "print([name for name in sys.modules if name.startswith('kubelite.cel')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
