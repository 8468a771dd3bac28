"""Mutating policies before a whole API."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from fakes.custom_server import define, definition, version
from fakes.server import Server

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.rbac import RBAC
from kubelite.api.errors import APIError, BadRequest, Forbidden, InternalError
from kubelite.api.kinds.core.options import PodExecOptions
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.shaping.go import GoShape
from kubelite.api.registry.admission.policies.plugin import MutatingAdmissionPolicies
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.admission.webhooks import MutatingAdmissionWebhook
from kubelite.limits import INLINE_WORK
from kubelite.offload import AtOnce

JSON = dict[str, Any]
T = TypeVar("T")
CONFIGS = "admissionregistration.k8s.io/v1"
POLICIES, BINDINGS = (f"{CONFIGS}/mutatingadmissionpolic{end}" for end in ("ies", "ybindings"))
MAPS = "v1/configmaps"


class CountingOffload:
    """Runs all work at once, and remembers what it would have cost."""

    def __init__(self) -> None:
        self.costs: list[int] = []

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
        self.costs.append(cost_bytes)
        return work()


@pytest.fixture
def offload() -> CountingOffload:
    return CountingOffload()


@pytest.fixture
def server(offload: CountingOffload) -> Server:
    made = Server()
    authorizer = UnionAuthorizer(RBAC(made.mirrors))
    made.admit_by(
        MutatingAdmissionPolicies(made.mirrors, made.resources, authorizer, made.mirrors, offload)
    )
    return made


def apply(expression: str) -> JSON:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patch(expression: str) -> JSON:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": f"[{expression}]"}}


def add(name: str, value: str = "'x'") -> JSON:
    """Return a mutation that sets a key of a ConfigMap."""
    return patch(f"JSONPatch{{op: 'add', path: '/data/{name}', value: {value}}}")


async def policy(
    server: Server,
    name: str,
    *mutations: JSON,
    resources: tuple[str, ...] = ("configmaps",),
    groups: tuple[str, ...] = ("*",),
    versions: tuple[str, ...] = ("*",),
    operations: tuple[str, ...] = ("*",),
    binding: JSON | None = None,
    **spec: Any,
) -> None:
    """Create a policy, a binding of the same name, and the namespace of the objects."""
    if "default" not in server.names("v1/namespaces", ""):
        await server.create("v1/namespaces", {"metadata": {"name": "default"}})
    rule = {
        "operations": list(operations),
        "apiGroups": list(groups),
        "apiVersions": list(versions),
        "resources": list(resources),
    }
    body = {
        "matchConstraints": {"resourceRules": [rule]},
        "reinvocationPolicy": "Never",
        "mutations": list(mutations),
        **spec,
    }
    await server.create(POLICIES, {"metadata": {"name": name}, "spec": body})
    await bind(server, name, **(binding or {}))


async def bind(server: Server, policy: str, name: str = "", **spec: Any) -> None:
    body = {"policyName": policy, **spec}
    await server.create(BINDINGS, {"metadata": {"name": name or policy}, "spec": body})


def config_map(name: str = "a", data: JSON | None = None, **labels: str) -> JSON:
    return {"metadata": {"name": name, "labels": labels}, "data": data or {"a": "1"}}


async def test_each_mutation_sees_what_those_before_it_made(server: Server) -> None:
    await policy(server, "one", add("b", "object.data.a + '2'"), add("c", "object.data.b + '3'"))
    await policy(server, "two", add("d", "object.data.c + '4'"))
    made = await server.create(MAPS, config_map())
    assert made["data"] == {"a": "1", "b": "12", "c": "123", "d": "1234"}


async def test_a_mutation_sees_the_defaults_of_what_those_before_it_made(server: Server) -> None:
    container = "Object.spec.containers{name: 'b', image: 'i:1'}"
    await policy(
        server,
        "one",
        apply(f"Object{{spec: Object.spec{{containers: [{container}]}}}}"),
        apply(
            "Object{metadata: Object.metadata{labels: "
            "{'pull': object.spec.containers[1].imagePullPolicy}}}"
        ),
        resources=("pods",),
    )
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
    made = await server.create("v1/pods", pod)
    assert made["metadata"]["labels"] == {"pull": "IfNotPresent"}
    assert [each["name"] for each in made["spec"]["containers"]] == ["a", "b"]


async def test_a_policy_without_a_binding_does_nothing(server: Server) -> None:
    await policy(server, "one", add("b"))
    await server.delete(BINDINGS, "one")
    assert (await server.create(MAPS, config_map()))["data"] == {"a": "1"}
    await bind(server, "one")
    assert (await server.create(MAPS, config_map("b")))["data"] == {"a": "1", "b": "x"}


async def test_a_changed_policy_is_in_effect_at_once(server: Server) -> None:
    await policy(server, "one", add("b"))
    await server.create(MAPS, config_map())
    stored = server.get(POLICIES, "one")
    stored["spec"]["mutations"] = [add("c")]
    await server.update(POLICIES, "one", stored)
    assert (await server.create(MAPS, config_map("b")))["data"] == {"a": "1", "c": "x"}


async def test_a_policy_is_invoked_for_each_binding_and_each_params_object(server: Server) -> None:
    for name in ("p1", "p2"):
        await server.create(MAPS, config_map(name, {"key": name}, kind="params"))
    await policy(
        server,
        "one",
        patch("JSONPatch{op: 'add', path: '/data/' + params.data.key, value: 'x'}"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        operations=("UPDATE",),
        binding={
            "paramRef": {
                "selector": {"matchLabels": {"kind": "params"}},
                "parameterNotFoundAction": "Deny",
            }
        },
    )
    await server.create(MAPS, config_map())
    changed = await server.patch(MAPS, "a", {"data": {"a": "2"}})
    assert changed["data"] == {"a": "2", "p1": "x", "p2": "x"}


async def test_the_loop_does_other_work_between_params_objects(server: Server) -> None:
    many = 20
    await policy(
        server,
        "one",
        patch("JSONPatch{op: 'add', path: '/data/' + params.metadata.name, value: 'x'}"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        operations=("UPDATE",),
        binding={"paramRef": {"selector": {}, "parameterNotFoundAction": "Deny"}},
    )
    for number in range(many):
        await server.create(MAPS, config_map(f"p{number}"))
    turns: list[None] = []
    plugin, during = server.admission.mutating[0], []

    async def other() -> None:
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    class Watched:
        name = plugin.name

        async def mutate(self, request: AdmissionRequest) -> None:
            before = len(turns)
            await plugin.mutate(request)
            during.append(len(turns) - before)

    server.admit_by(Watched())
    working = asyncio.create_task(other())
    changed = await server.patch(MAPS, "p0", {"data": {"a": "2"}})
    working.cancel()
    assert len(changed["data"]) == many + 1
    assert during[0] >= many - 1


async def test_missing_params_refuse_as_the_binding_says(server: Server) -> None:
    await policy(
        server,
        "one",
        add("b"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        binding={"paramRef": {"name": "gone", "parameterNotFoundAction": "Deny"}},
    )
    with pytest.raises(Forbidden) as refused:
        await server.create(MAPS, config_map())
    assert refused.value.message == (
        "policy 'one' with binding 'one' denied request: failed to configure binding: "
        "no params found for policy binding with `Deny` parameterNotFoundAction"
    )
    assert refused.value.reason == "Forbidden"


async def test_params_of_a_kind_that_is_not_served_refuse(server: Server) -> None:
    await define(server, definition())
    await policy(
        server,
        "one",
        add("b"),
        paramKind={"apiVersion": "example.com/v1", "kind": "Cat"},
        binding={"paramRef": {"name": "tom", "parameterNotFoundAction": "Allow"}},
    )
    assert (await server.create(MAPS, config_map()))["data"] == {"a": "1"}  # allowed without
    await server.create("example.com/v1/cats", {"metadata": {"name": "tom"}})
    assert (await server.create(MAPS, config_map("b")))["data"] == {"a": "1", "b": "x"}
    await define(server, definition(version(served=False)))
    with pytest.raises(Forbidden, match='policy "one" denied request: failed to configure policy'):
        await server.create(MAPS, config_map("c"))


@pytest.mark.parametrize(
    ("condition", "data"),
    [
        ("object.data.a == '1'", {"a": "1", "b": "x"}),
        ("object.data.a == '2'", {"a": "1"}),
        ("request.operation == 'UPDATE'", {"a": "1"}),
        ("authorizer.group('').resource('pods').check('get').allowed()", {"a": "1", "b": "x"}),
        (
            "authorizer.serviceAccount('x', 'y').group('').resource('pods').check('get').allowed()",
            {"a": "1"},
        ),
        ("namespaceObject == null", {"a": "1", "b": "x"}),
    ],
)
async def test_match_conditions_decide(server: Server, condition: str, data: JSON) -> None:
    await policy(
        server,
        "one",
        add("b"),
        matchConditions=[{"name": "c", "expression": condition}],
    )
    assert (await server.create(MAPS, config_map()))["data"] == data


FAILING = [
    (
        {"matchConditions": [{"name": "c", "expression": "object.nope == '1'"}]},
        add("b"),
        "expression 'object.nope == '1'' resulted in error: no such key: nope",
    ),
    (
        {},
        apply("Object{data: {'x': object.nope}}"),
        "expression 'Object{data: {'x': object.nope}}' resulted in error: no such key: nope",
    ),
    (
        {"variables": [{"name": "v", "expression": "object.nope"}]},
        apply("Object{data: {'x': string(variables.v)}}"),
        (
            "expression 'Object{data: {'x': string(variables.v)}}' resulted in error: "
            'composited variable "v" fails to evaluate: no such key: nope'
        ),
    ),
    (
        {},
        apply("Object{zzz: 'x'}"),
        (
            "error applying patch: failed to convert patch object to typed object: "
            ".zzz: field not declared in schema"
        ),
    ),
    ({}, patch("JSONPatch{op: 'frob', path: '/x'}"), "JSON Patch: Unexpected kind: frob"),
]


@pytest.mark.parametrize(("spec", "mutation", "text"), FAILING)
async def test_what_fails_refuses_unless_it_is_to_be_ignored(
    server: Server, spec: JSON, mutation: JSON, text: str
) -> None:
    await policy(server, "one", mutation, **spec)
    with pytest.raises(Forbidden) as refused:
        await server.create(MAPS, config_map())
    message = f"policy 'one' with binding 'one' denied request: {text}"
    assert refused.value.message == message
    assert (refused.value.code, refused.value.reason) == (403, "Invalid")
    assert [cause.message for cause in refused.value.causes] == [message]
    assert (refused.value.kind, refused.value.name) == ("configmaps", "a")
    await server.delete(POLICIES, "one")
    await server.delete(BINDINGS, "one")
    await policy(server, "two", mutation, add("b"), failurePolicy="Ignore", **spec)
    made = await server.create(MAPS, config_map())
    is_asked = "matchConditions" not in spec
    assert made["data"] == ({"a": "1", "b": "x"} if is_asked else {"a": "1"})


async def test_the_refusal_names_all_that_failed(server: Server) -> None:
    await policy(server, "one", apply("Object{zzz: 1}"), add("b"), apply("Object{yyy: 1}"))
    await policy(server, "two", patch("JSONPatch{op: 'frob'}"))
    with pytest.raises(Forbidden) as refused:
        await server.create(MAPS, config_map())
    assert [cause.message.partition(": ")[0] for cause in refused.value.causes] == [
        "policy 'one' with binding 'one' denied request",
        "policy 'one' with binding 'one' denied request",
        "policy 'two' with binding 'two' denied request",
    ]


async def test_an_unknown_field_of_a_patch_is_an_error_of_a_kind_that_is_built_in(
    server: Server,
) -> None:
    await policy(
        server, "one", patch("JSONPatch{op: 'add', path: '/zzz', value: 1}"), failurePolicy="Ignore"
    )
    with pytest.raises(InternalError) as failed:
        await server.create(MAPS, config_map())
    assert failed.value.message == (
        'Internal error occurred: strict decoding error: unknown field "zzz"'
    )


async def test_an_unknown_field_of_a_custom_resource_is_dropped(server: Server) -> None:
    spec = {"spec": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    await define(server, definition(version(schema=spec)))
    unknown = patch("JSONPatch{op: 'add', path: '/spec/zzz', value: 1}")
    double = patch("JSONPatch{op: 'replace', path: '/spec/a', value: object.spec.a * 2}")
    await policy(server, "one", unknown, double, resources=("cats",))
    made = await server.create("example.com/v1/cats", {"metadata": {"name": "x"}, "spec": {"a": 2}})
    assert made["spec"] == {"a": 4}


async def test_a_policy_sees_the_version_that_it_names(server: Server) -> None:
    spec = {"type": "object", "properties": {"a": {"type": "integer"}, "v": {"type": "string"}}}
    both = (version(schema={"spec": spec}), version("v2", storage=False, schema={"spec": spec}))
    await define(server, definition(*both))
    await policy(
        server,
        "one",
        apply("Object{spec: Object.spec{v: object.apiVersion + ' ' + request.kind.version}}"),
        resources=("cats",),
        versions=("v1",),
    )
    made = await server.create("example.com/v2/cats", {"metadata": {"name": "x"}, "spec": {"a": 1}})
    assert made["apiVersion"] == "example.com/v2"
    assert made["spec"] == {"a": 1, "v": "example.com/v1 v1"}


async def test_a_scale_is_changed_as_a_scale(server: Server) -> None:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    await server.create("apps/v1/deployments", {"metadata": {"name": "web"}, "spec": spec})
    await policy(
        server,
        "one",
        apply("Object{spec: Object.spec{replicas: object.spec.replicas * 2}}"),
        resources=("deployments/scale",),
    )
    await server.patch("apps/v1/deployments/scale", "web", {"spec": {"replicas": 3}})
    assert server.get("apps/v1/deployments", "web")["spec"]["replicas"] == 6


async def test_what_the_server_sets_is_neither_seen_nor_lost(server: Server) -> None:
    await policy(
        server, "one", add("uid", "has(object.metadata.uid) ? object.metadata.uid : 'none'")
    )
    made = await server.create(MAPS, config_map())
    assert made["data"]["uid"] == "none"
    assert made["metadata"]["uid"]
    changed = await server.patch(MAPS, "a", {"data": {"a": "2"}})
    assert changed["data"]["uid"] == made["metadata"]["uid"]


async def test_deletions_and_policies_themselves_are_not_changed(server: Server) -> None:
    await server.create(MAPS, config_map())
    await policy(server, "one", apply("Object{zzz: 1}"), resources=("*",))
    await server.delete(MAPS, "a")
    await bind(server, "one", "another")
    await server.delete(POLICIES, "one")


async def test_the_options_of_a_connection_are_changed(server: Server) -> None:
    await policy(
        server,
        "one",
        patch("JSONPatch{op: 'add', path: '/command', value: ['id']}"),
        resources=("pods/exec",),
        operations=("CONNECT",),
    )
    pods, form = server.resources.of(Pod), GoShape(PodExecOptions)
    options = {"kind": "PodExecOptions", "apiVersion": "v1", "command": ["ls"], "stdin": True}
    await server.verbs.connect(server.allowed("create", "v1/pods/exec", "p"), pods, options, form)
    assert (options["command"], options["stdin"]) == (["id"], True)


class Late:
    """Another plugin, which changes the object after the policies."""

    name = "MutatingAdmissionWebhook"

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.object is not None and request.resource.plural == "configmaps":
            request.object["data"]["late"] = "x"


COUNTING = add("count", "has(object.data.count) ? object.data.count + '1' : '1'")


@pytest.mark.parametrize(
    ("reinvocation", "others", "count"),
    [
        ("Never", [add("b")], "1"),
        ("IfNeeded", [add("b")], "11"),  # another policy changed the object after it
        ("IfNeeded", [], "1"),
    ],
)
async def test_a_policy_is_invoked_again_if_it_asks_for_it_and_the_object_changed(
    server: Server, reinvocation: str, others: list[JSON], count: str
) -> None:
    await policy(server, "one", COUNTING, reinvocationPolicy=reinvocation)
    for mutation in others:
        await policy(server, "two", mutation)
    assert (await server.create(MAPS, config_map()))["data"]["count"] == count


async def test_a_change_of_another_plugin_has_policies_invoked_again(server: Server) -> None:
    plugin = server.admission.mutating[0]
    server.admit_by(plugin, Late())
    await policy(server, "one", COUNTING, reinvocationPolicy="IfNeeded")
    await policy(server, "two", add("b", "has(object.data.b) ? 'again' : 'once'"))
    made = await server.create(MAPS, config_map())
    assert made["data"] == {"a": "1", "b": "once", "count": "11", "late": "x"}


async def test_an_expression_that_costs_too_much_is_broken_off(
    server: Server, offload: CountingOffload
) -> None:
    numbers = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    bomb = "1"
    for name in "abcdefg":
        bomb = (
            f"{numbers}.all({name}, {bomb} == 1)"
            if bomb == "1"
            else f"{numbers}.all({name}, {bomb})"
        )
    await policy(server, "one", apply(f"{bomb} ? Object{{}} : Object{{}}"))
    with pytest.raises(Forbidden, match="operation cancelled: actual cost limit exceeded"):
        await server.create(MAPS, config_map())
    assert max(offload.costs) > INLINE_WORK.value


async def test_a_patch_that_repeats_a_large_text_fails_and_may_be_ignored(server: Server) -> None:
    many = ", ".join(["object.data.a"] * 200)
    repeating = patch(f"JSONPatch{{op: 'add', path: '/data', value: [{many}].map(x, [{many}])}}")
    await policy(server, "one", repeating)
    large = config_map(data={"a": "x" * 100_000})
    with pytest.raises(Forbidden, match="denied request: Request entity too large"):
        await server.create(MAPS, large)
    stored = server.get(POLICIES, "one")
    stored["spec"]["failurePolicy"] = "Ignore"
    await server.update(POLICIES, "one", stored)
    assert (await server.create(MAPS, large))["data"] == large["data"]


async def test_large_objects_are_changed_off_the_loop(
    server: Server, offload: CountingOffload
) -> None:
    await policy(server, "one", add("b"))
    await server.create(MAPS, config_map())
    assert max(offload.costs) <= INLINE_WORK.value
    await server.create(MAPS, config_map("b", {"a": "x" * 900_000}))
    assert max(offload.costs) > INLINE_WORK.value


async def test_a_request_in_an_unknown_namespace_is_refused_as_such(server: Server) -> None:
    await policy(server, "one", add("b"))
    with pytest.raises(APIError) as refused:
        await server.create(MAPS, {**config_map(), "metadata": {"name": "a", "namespace": "gone"}})
    assert refused.value.code == 404


async def test_a_changed_object_is_no_larger_than_a_body(server: Server) -> None:
    await policy(server, "one", add("b", "'x'.replace('x', object.data.a + object.data.a)"))
    await policy(server, "two", add("c", "object.data.b + object.data.b"))
    await server.create(MAPS, config_map(data={"a": "x" * 1000}))
    with pytest.raises(Forbidden, match="Request entity too large: limit is"):
        await server.create(MAPS, config_map("b", data={"a": "x" * 500_000}))


class Answering:
    """A webhook that adds a key, if it is not there."""

    def uid(self) -> str:
        return "the-uid"

    async def post(self, client_config: Any, body: bytes, seconds: float) -> bytes:
        request = msgspec.json.decode(body)["request"]
        operation = {"op": "add", "path": "/data/hook", "value": request["object"]["data"]["count"]}
        text = base64.b64encode(msgspec.json.encode([operation])).decode()
        response = {"uid": "the-uid", "allowed": True, "patch": text, "patchType": "JSONPatch"}
        return msgspec.json.encode(
            {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}
        )


@pytest.mark.parametrize(("of_hook", "hook"), [("Never", "1"), ("IfNeeded", "11")])
async def test_policies_and_webhooks_have_each_other_invoked_again(
    server: Server, of_hook: str, hook: str
) -> None:
    authorizer = UnionAuthorizer(RBAC(server.mirrors))
    parts = (server.mirrors, server.resources, Answering(), authorizer, AtOnce())
    webhooks = MutatingAdmissionWebhook(*parts)
    await policy(server, "one", COUNTING, reinvocationPolicy="IfNeeded")
    rule = {
        "operations": ["*"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
    }
    config = {
        "name": "a.example.com",
        "clientConfig": {"url": "https://hook.example.com"},
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "reinvocationPolicy": of_hook,
    }
    await server.create(
        f"{CONFIGS}/mutatingwebhookconfigurations",
        {"metadata": {"name": "a"}, "webhooks": [config]},
    )
    server.admit_by(*server.admission.mutating, webhooks)
    made = await server.create(MAPS, config_map())
    assert made["data"] == {"a": "1", "count": "11", "hook": hook}


async def test_an_object_stays_in_the_namespace_of_its_request(server: Server) -> None:
    move = "JSONPatch{op: 'add', path: '/metadata/namespace', value: 'kube-system'}"
    await policy(server, "one", patch(move), failurePolicy="Ignore")
    with pytest.raises(BadRequest) as refused:
        await server.create(MAPS, config_map())
    assert refused.value.message == (
        "the namespace of the provided object does not match the namespace sent on the request"
    )
    assert server.names(MAPS, "kube-system") == []
