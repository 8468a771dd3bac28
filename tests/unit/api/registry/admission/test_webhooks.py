"""Admission webhooks, which are functions of the test."""

import asyncio
import base64
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
import pytest
from fakes.custom_server import define, definition, version
from fakes.server import Server

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.rbac import RBAC
from kubelite.api.errors import APIError, BadRequest, Conflict, Forbidden, InternalError, Invalid
from kubelite.api.kinds.core.options import PodExecOptions
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.shaping.go import GoShape
from kubelite.api.registry.admission import replacing, webhooks
from kubelite.api.registry.admission.webhooks import (
    MutatingAdmissionWebhook,
    ValidatingAdmissionWebhook,
)
from kubelite.api.registry.custom_conversion import CustomConversion
from kubelite.api.registry.hooks import ReviewFailed
from kubelite.api.registry.objects import encode
from kubelite.limits import INLINE_WORK
from kubelite.offload import AtOnce

JSON = dict[str, Any]
T = TypeVar("T")
CONFIGS = "admissionregistration.k8s.io/v1"
MAPS = "v1/configmaps"


class Recording(AtOnce):
    """Runs all work inline, and remembers what it was told to cost."""

    def __init__(self) -> None:
        self.costs: list[int] = []
        self.is_running = False

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
        self.costs.append(cost_bytes)
        self.is_running = cost_bytes > INLINE_WORK.value
        try:
            return await super().run(cost_bytes, work)
        finally:
            self.is_running = False


class Called:
    """Calls the function that the URL of a webhook names."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[JSON], JSON | bytes]] = {}
        self.requests: list[tuple[str, JSON]] = []
        self.seconds: list[float] = []
        self.gate: asyncio.Event | None = None
        self.offload = Recording()

    def uid(self) -> str:
        return "the-uid"

    async def post(self, client_config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        name = client_config["url"].rpartition("/")[2]
        if self.gate is not None:
            await self.gate.wait()
        request = msgspec.json.decode(body)["request"]
        self.requests.append((name, request))
        self.seconds.append(seconds)
        answer = self.answers[name](request)
        if isinstance(answer, bytes):
            return answer
        response = {"uid": request["uid"], "allowed": True, **answer}
        return msgspec.json.encode(
            {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}
        )


def patch(*operations: JSON) -> JSON:
    encoded = base64.b64encode(msgspec.json.encode(operations)).decode()
    return {"patch": encoded, "patchType": "JSONPatch"}


def add(name: str, value: str = "x") -> JSON:
    return {"op": "add", "path": f"/data/{name}", "value": value}


@pytest.fixture
def called() -> Called:
    return Called()


@pytest.fixture
def server(called: Called) -> Server:
    made = Server(hooks=called)
    authorizer = UnionAuthorizer(RBAC(made.mirrors))
    parts = (made.mirrors, made.resources, called, authorizer, called.offload)
    made.admit_by(MutatingAdmissionWebhook(*parts), ValidatingAdmissionWebhook(*parts))
    return made


async def hook(
    server: Server,
    name: str,
    kind: str = "validating",
    *,
    resources: tuple[str, ...] = ("configmaps",),
    groups: tuple[str, ...] = ("*",),
    operations: tuple[str, ...] = ("*",),
    **fields: Any,
) -> None:
    rules = {"operations": operations, "apiGroups": groups, "apiVersions": ["*"]}
    config = {
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": f"{name}.example.com",
                "clientConfig": {"url": f"https://hook.example.com/{name}"},
                "rules": [{**rules, "resources": resources}],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                **fields,
            }
        ],
    }
    body = msgspec.json.decode(msgspec.json.encode(config))
    await server.create(f"{CONFIGS}/{kind}webhookconfigurations", body)


def config_map(name: str = "a", **labels: str) -> JSON:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}


async def test_what_a_webhook_is_asked(server: Server, called: Called) -> None:
    called.answers["one"] = lambda _: {}
    await hook(server, "one", timeoutSeconds=3)
    await server.create(MAPS, config_map(), dry_run=True, field_manager="me", names_manager=True)
    ((_, request),) = called.requests
    assert called.seconds == [3]
    assert request["object"]["data"] == {"a": "1"}
    assert request["object"]["metadata"]["uid"]
    assert request["oldObject"] is None
    assert (request["operation"], request["dryRun"]) == ("CREATE", True)
    assert (request["name"], request["namespace"]) == ("a", "default")
    kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request["kind"] == request["requestKind"] == kind
    assert request["options"] == {
        "kind": "CreateOptions",
        "apiVersion": "meta.k8s.io/v1",
        "dryRun": ["All"],
        "fieldManager": "me",
    }
    assert request["userInfo"]["username"]


async def test_each_operation_shows_what_was_and_what_shall_be(
    server: Server, called: Called
) -> None:
    await server.create(MAPS, config_map())
    called.answers["one"] = lambda _: {}
    await hook(server, "one")
    await server.patch(MAPS, "a", {"data": {"a": "2"}})
    await server.delete(MAPS, "a")
    (_, update), (_, delete) = called.requests
    assert (update["oldObject"]["data"], update["object"]["data"]) == ({"a": "1"}, {"a": "2"})
    assert update["options"]["kind"] == "UpdateOptions"
    assert (delete["oldObject"]["data"], delete["object"]) == ({"a": "2"}, None)
    assert delete["options"]["kind"] == "DeleteOptions"


async def test_an_object_is_changed_in_the_order_of_names(server: Server, called: Called) -> None:
    called.answers |= {"b": lambda _: patch(add("b")), "c": lambda _: patch(add("c"))}
    await hook(server, "c", "mutating")
    await hook(server, "b", "mutating")
    made = await server.create(MAPS, config_map())
    assert made["data"] == {"a": "1", "b": "x", "c": "x"}
    assert [name for name, _ in called.requests] == ["b", "c"]
    assert "uid" not in called.requests[0][1]["object"]["metadata"]
    assert called.requests[1][1]["object"]["data"] == {"a": "1", "b": "x"}
    assert made["metadata"]["uid"]


@pytest.mark.parametrize(
    ("limit", "names"), [(1, ["a", "b", "c", "a"]), (2, ["a", "b", "c", "a", "c"])]
)
async def test_a_webhook_is_called_again_if_another_changed_the_object_after_it(
    server: Server, called: Called, limit: int, names: list[str]
) -> None:
    def count(request: JSON) -> JSON:
        before = int(request["object"]["data"].get("count", "0"))
        return patch(add("count", str(min(before + 1, limit))))

    called.answers |= {"a": count, "b": lambda _: patch(add("b")), "c": lambda _: {}}
    await hook(server, "a", "mutating", reinvocationPolicy="IfNeeded")
    await hook(server, "b", "mutating")
    await hook(server, "c", "mutating", reinvocationPolicy="IfNeeded")
    made = await server.create(MAPS, config_map())
    assert [name for name, _ in called.requests] == names
    assert made["data"]["count"] == str(limit)


async def test_the_first_rejection_is_answered_with_all_warnings(
    server: Server, called: Called
) -> None:
    status = {"code": 418, "reason": "Teapot", "message": "no coffee"}
    called.answers |= {
        "a": lambda _: {"warnings": ["first", "se\ncond"]},
        "b": lambda _: {"allowed": False, "status": status, "warnings": ["third"]},
        "c": lambda _: {"allowed": False},
    }
    for name in ("c", "b", "a"):
        await hook(server, name)
    with pytest.raises(APIError) as rejected:
        await server.create(MAPS, config_map())
    error = rejected.value
    assert (error.code, error.reason) == (418, "Teapot")
    assert error.message == 'admission webhook "b.example.com" denied the request: no coffee'
    assert list(error.warnings) == ["first", "third"]
    assert server.names(MAPS) == []


@pytest.mark.parametrize(
    ("status", "code", "end"),
    [
        (None, 400, " without explanation"),
        ({"code": 200, "message": "odd"}, 400, ": odd"),
        ({"reason": "Because"}, 400, ": Because"),
        ({"code": 422, "message": "m"}, 422, ": m"),
        ({"code": 9999, "message": "m"}, 400, ": m"),
    ],
)
async def test_rejections(
    server: Server, called: Called, status: JSON | None, code: int, end: str
) -> None:
    called.answers["a"] = lambda _: {"allowed": False, "status": status}
    await hook(server, "a")
    with pytest.raises(APIError) as rejected:
        await server.create(MAPS, config_map())
    assert rejected.value.code == code
    assert rejected.value.message == f'admission webhook "a.example.com" denied the request{end}'


def unreachable(_: JSON) -> JSON:
    raise ReviewFailed('Post "https://hook": connection refused')


CALL = 'Internal error occurred: failed calling webhook "a.example.com": '


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (unreachable, 'failed to call webhook: Post "https://hook": connection refused'),
        (lambda _: b"hello", "failed to call webhook: couldn't get version/kind"),
        (lambda _: b"[]", "failed to call webhook: couldn't get version/kind"),
        (lambda _: b"{}", "received invalid webhook response: webhook response was absent"),
        (lambda _: {"uid": "x"}, 'received invalid webhook response: expected response.uid="the-'),
        (lambda _: patch(add("b")), "received invalid webhook response: validating webhook may no"),
    ],
)
async def test_a_failure_refuses_unless_it_is_to_be_ignored(
    server: Server, called: Called, answer: Callable[[JSON], JSON | bytes], message: str
) -> None:
    called.answers["a"] = answer
    await hook(server, "a")
    with pytest.raises(InternalError) as failed:
        await server.create(MAPS, config_map())
    assert failed.value.message.startswith(CALL + message)
    await server.delete(f"{CONFIGS}/validatingwebhookconfigurations", "a")
    await hook(server, "a", failurePolicy="Ignore")
    await server.create(MAPS, config_map())


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([{"op": "remove", "path": "/data/z"}], "error in remove for path: '/data/z'"),
        ([{"op": "test", "path": "/data/a", "value": "9"}], "testing value /data/a failed"),
        ([{"op": "add", "path": "/data/b", "value": 1}], "json: cannot unmarshal number into Go"),
    ],
)
async def test_a_patch_that_cannot_be_applied(
    server: Server, called: Called, operations: list[JSON], message: str
) -> None:
    called.answers["a"] = lambda _: patch(*operations)
    await hook(server, "a", "mutating")
    with pytest.raises(InternalError) as failed:
        await server.create(MAPS, config_map())
    assert failed.value.message.startswith(f"Internal error occurred: {message}")


async def test_selectors(server: Server, called: Called) -> None:
    called.answers["a"] = lambda _: {"allowed": False}
    await hook(server, "a", objectSelector={"matchLabels": {"app": "web"}})
    await server.create(MAPS, config_map("free"))
    with pytest.raises(APIError, match="denied"):
        await server.create(MAPS, config_map("bound", app="web"))
    with pytest.raises(APIError, match="denied"):
        await server.patch(MAPS, "free", {"metadata": {"labels": {"app": "web"}}})


async def test_namespaces_are_selected_by_their_labels(server: Server, called: Called) -> None:
    called.answers["a"] = lambda _: {"allowed": False}
    selector = {"matchLabels": {"team": "blue"}}
    await hook(server, "a", resources=("*",), namespaceSelector=selector)
    await server.create("v1/namespaces", {"metadata": {"name": "default"}})
    await server.create(MAPS, config_map())
    with pytest.raises(APIError, match="denied"):  # an object of the cluster is in all of them
        await server.create("v1/nodes", {"metadata": {"name": "n"}})
    with pytest.raises(APIError, match="denied"):
        await server.create(
            "v1/namespaces", {"metadata": {"name": "x", "labels": {"team": "blue"}}}
        )


async def test_a_dry_run_reaches_no_webhook_with_side_effects(
    server: Server, called: Called
) -> None:
    called.answers["a"] = lambda _: {}
    await hook(server, "a")
    config = server.get(f"{CONFIGS}/validatingwebhookconfigurations", "a")
    config["webhooks"][0]["sideEffects"] = "NoneOnDryRun"
    await server.update(f"{CONFIGS}/validatingwebhookconfigurations", "a", config)
    await server.create(MAPS, config_map(), dry_run=True)
    stored = server.store.get("/validatingwebhookconfigurations.admissionregistration.k8s.io/a")
    assert stored is not None
    webhooks = server.admission.validating[-1]
    assert isinstance(webhooks, ValidatingAdmissionWebhook)
    (configured,) = webhooks.configured()
    webhooks._configured = [msgspec.structs.replace(configured, is_dry=False)]
    with pytest.raises(BadRequest, match=r'webhook "a.example.com" does not support dry run'):
        await server.create(MAPS, config_map("b"), dry_run=True)


async def test_a_scale_is_shown_and_changed_as_a_scale(server: Server, called: Called) -> None:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    await server.create("apps/v1/deployments", {"metadata": {"name": "web"}, "spec": spec})
    called.answers["a"] = lambda _: patch({"op": "replace", "path": "/spec/replicas", "value": 7})
    await hook(server, "a", "mutating", resources=("deployments/scale",))
    await server.patch("apps/v1/deployments/scale", "web", {"spec": {"replicas": 3}})
    ((_, request),) = called.requests
    assert request["kind"]["kind"] == "Scale"
    assert (request["subResource"], request["object"]["spec"]) == ("scale", {"replicas": 3})
    assert server.get("apps/v1/deployments", "web")["spec"]["replicas"] == 7


async def test_a_webhook_is_asked_in_a_version_that_it_knows(
    server: Server, called: Called
) -> None:
    both = (
        version(schema={"spec": {"type": "object", "properties": {"a": {"type": "integer"}}}}),
        version(
            "v2",
            storage=False,
            schema={
                "spec": {
                    "type": "object",
                    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                }
            },
        ),
    )
    await define(server, definition(*both))
    change = {"op": "replace", "path": "/spec/a", "value": 5}
    called.answers["a"] = lambda _: patch(change)
    await hook(server, "a", "mutating", resources=("cats",))
    config = server.get(f"{CONFIGS}/mutatingwebhookconfigurations", "a")
    config["webhooks"][0]["rules"][0]["apiVersions"] = ["v1"]
    await server.update(f"{CONFIGS}/mutatingwebhookconfigurations", "a", config)
    made = await server.create("example.com/v2/cats", {"metadata": {"name": "x"}, "spec": {"a": 1}})
    ((_, request),) = called.requests
    assert request["kind"]["version"] == "v1"
    assert request["requestKind"]["version"] == "v2"
    assert request["object"]["apiVersion"] == "example.com/v1"
    assert (made["apiVersion"], made["spec"]) == ("example.com/v2", {"a": 5})


async def test_configurations_are_never_asked_about(server: Server, called: Called) -> None:
    called.answers["a"] = lambda _: {"allowed": False}
    await hook(server, "a", resources=("*",))
    await server.delete(f"{CONFIGS}/validatingwebhookconfigurations", "a")
    await server.create(MAPS, config_map())


async def test_only_the_requests_that_a_slow_webhook_concerns_wait(
    server: Server, called: Called
) -> None:
    called.answers["a"] = lambda _: {}
    called.gate = asyncio.Event()
    await hook(server, "a")
    waiting = asyncio.ensure_future(server.create(MAPS, config_map()))
    await server.create("v1/serviceaccounts", {"metadata": {"name": "x"}})
    assert not waiting.done()
    called.gate.set()
    await waiting


async def test_annotations_tell_what_webhooks_did(server: Server, called: Called) -> None:
    called.answers |= {"a": lambda _: {**patch(add("b")), "auditAnnotations": {"k": "v"}}}
    await hook(server, "a", "mutating")
    annotations = server.annotations
    await server.create(MAPS, config_map())
    assert annotations["a.example.com/k"] == "v"
    told = msgspec.json.decode(
        annotations["mutation.webhook.admission.k8s.io/round_0_index_0"].encode()
    )
    assert told == {"configuration": "a", "webhook": "a.example.com", "mutated": True}


async def test_bodies_that_are_not_stored_are_shown_as_they_are(
    server: Server, called: Called
) -> None:
    called.answers["a"] = lambda _: {}
    await hook(server, "a", resources=("pods/binding", "pods/eviction"))
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await server.create("v1/pods", {"metadata": {"name": "p"}, "spec": spec})
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    await server.create("v1/pods/binding", binding, "p")
    await server.create("v1/pods/eviction", {"metadata": {"name": "p"}}, "p")
    asked = [
        (one["subResource"], one["operation"], one["kind"]["kind"], one["object"]["kind"])
        for _, one in called.requests
    ]
    assert asked == [
        ("binding", "CREATE", "Binding", "Binding"),
        ("eviction", "CREATE", "Eviction", "Eviction"),
    ]
    assert called.requests[0][1]["object"]["target"] == {"kind": "Node", "name": "n"}


async def test_a_refused_eviction_leaves_the_pod(server: Server, called: Called) -> None:
    called.answers["a"] = lambda _: {"allowed": False}
    await hook(server, "a", resources=("pods/eviction",))
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await server.create("v1/pods", {"metadata": {"name": "p"}, "spec": spec})
    with pytest.raises(APIError, match="denied"):
        await server.create("v1/pods/eviction", {"metadata": {"name": "p"}}, "p")
    assert server.names("v1/pods") == ["p"]


async def test_a_connection_is_judged_and_changed(server: Server, called: Called) -> None:
    change = {"op": "add", "path": "/command", "value": ["id"]}
    called.answers |= {"a": lambda _: patch(change), "b": lambda _: {"allowed": False}}
    await hook(server, "a", "mutating", resources=("pods/exec",), operations=("CONNECT",))
    pods, form = server.resources.of(Pod), GoShape(PodExecOptions)
    options = {"kind": "PodExecOptions", "apiVersion": "v1", "command": ["ls"], "stdin": True}
    allowed = server.allowed("create", "v1/pods/exec", "p")
    await server.verbs.connect(allowed, pods, options, form)
    ((_, request),) = called.requests
    assert (request["operation"], request["name"]) == ("CONNECT", "p")
    assert request["kind"]["kind"] == request["object"]["kind"] == "PodExecOptions"
    assert (request["object"]["command"], request["options"]) == (["ls"], None)
    assert (options["command"], options["stdin"]) == (["id"], True)
    await hook(server, "b", resources=("pods/exec",), operations=("CONNECT",))
    with pytest.raises(APIError, match="denied"):
        await server.verbs.connect(allowed, pods, options, form)


async def test_match_conditions_decide_whether_a_webhook_is_asked(
    server: Server, called: Called
) -> None:
    called.answers["a"] = lambda _: {"allowed": False}
    conditions = [
        {"name": "labelled", "expression": "has(object.metadata.labels)"},
        {"name": "app", "expression": "object.metadata.labels['app'] == 'web'"},
        {"name": "who", "expression": "request.userInfo.username == 'admin'"},
        {"name": "may", "expression": "authorizer.path('/x').check('get').allowed()"},
    ]
    await hook(server, "a", matchConditions=conditions)
    await server.create(MAPS, config_map("free", app="db"))
    with pytest.raises(APIError, match="denied"):
        await server.create(MAPS, config_map("bound", app="web"))
    assert len(called.requests) == 1


async def test_a_match_condition_without_a_value(server: Server, called: Called) -> None:
    called.answers["a"] = lambda _: {"allowed": False}
    conditions = [{"name": "no", "expression": "object.nope == 1"}]
    await hook(server, "a", matchConditions=conditions)
    with pytest.raises(Forbidden) as refused:
        await server.create(MAPS, config_map())
    assert refused.value.message == (
        "configmaps \"a\" is forbidden: expression 'object.nope == 1' resulted in error: no such key: nope"
    )
    await server.delete(f"{CONFIGS}/validatingwebhookconfigurations", "a")
    await hook(server, "a", matchConditions=conditions, failurePolicy="Ignore")
    await server.create(MAPS, config_map())
    assert called.requests == []


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("foo", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo'"),
        ("1", "must evaluate to bool but got int"),
        ("params == null", "undeclared reference to 'params'"),
    ],
)
async def test_a_match_condition_that_does_not_compile(
    server: Server, expression: str, problem: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await hook(server, "a", matchConditions=[{"name": "a", "expression": expression}])
    (cause,) = refused.value.causes
    assert cause.path == "webhooks[0].matchConditions[0].expression"
    assert problem in cause.message


async def test_an_object_stays_in_the_namespace_of_its_request(
    server: Server, called: Called
) -> None:
    move = {"op": "replace", "path": "/metadata/namespace", "value": "kube-system"}
    called.answers["a"] = lambda _: patch(move)
    await hook(server, "a", "mutating")
    with pytest.raises(BadRequest, match="the namespace of the provided object does not match"):
        await server.create(MAPS, config_map())
    assert server.names(MAPS, "kube-system") == []


@pytest.mark.parametrize(
    ("field", "value"), [("name", "b"), ("namespace", "kube-system"), ("uid", "other")]
)
async def test_an_object_stays_what_it_is(
    server: Server, called: Called, field: str, value: str
) -> None:
    await server.create(MAPS, config_map())
    change = {"op": "replace", "path": f"/metadata/{field}", "value": value}
    called.answers["a"] = lambda _: patch(change)
    await hook(server, "a", "mutating")
    with pytest.raises((Invalid, BadRequest, Conflict)):
        await server.patch(MAPS, "a", {"data": {"b": "x"}})
    assert (server.names(MAPS), server.names(MAPS, "kube-system")) == (["a"], [])


async def test_a_large_object_is_copied_off_the_loop(server: Server, called: Called) -> None:
    called.answers["a"] = lambda _: {}
    await hook(server, "a")
    await server.create(MAPS, {**config_map(), "data": {"a": "x" * 500_000}})
    assert max(called.offload.costs) > INLINE_WORK.value
    assert called.requests[0][1]["object"]["data"]["a"][:2] == "xx"


async def test_a_large_object_is_converted_and_encoded_off_the_loop(
    called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(hooks=called, offload=called.offload)
    authorizer = UnionAuthorizer(RBAC(server.mirrors))
    parts = (server.mirrors, server.resources, called, authorizer, called.offload)
    server.admit_by(MutatingAdmissionWebhook(*parts))
    spec = {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}
    both = version(schema=spec), version("v2", storage=False, schema=spec)
    await define(server, definition(*both))
    called.answers["a"] = lambda _: patch(
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}
    )
    await hook(server, "a", "mutating", resources=("cats",))
    config = server.get(f"{CONFIGS}/mutatingwebhookconfigurations", "a")
    config["webhooks"][0]["rules"][0]["apiVersions"] = ["v1"]
    await server.update(f"{CONFIGS}/mutatingwebhookconfigurations", "a", config)
    during: list[tuple[str, bool]] = []

    def spied(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            if any(len(str(one)) > 400_000 for one in arguments):
                during.append((name, called.offload.is_running))
            return function(*arguments)

        return run

    for name in ("write", "read"):
        whole = spied(name, getattr(CustomConversion, name))
        monkeypatch.setattr(CustomConversion, name, whole)
    monkeypatch.setattr(webhooks, "encode", spied("encode", encode))
    monkeypatch.setattr(replacing, "complete", spied("complete", replacing.complete))
    large = {"metadata": {"name": "x"}, "spec": {"a": "x" * 500_000}}
    made = await server.create("example.com/v2/cats", large)
    assert made["metadata"]["labels"] == {"a": "b"}
    assert (called.requests[0][1]["object"]["apiVersion"]) == "example.com/v1"
    assert ("write", True) in during
    assert ("encode", True) in during
    assert ("complete", True) in during
    # To the webhook's version, the form of what it answered, and back; then to the stored version.
    expected = ["write", "complete", "read", "write"]
    steps = [each for each in during if each[0] != "encode"]
    assert steps[:4] == [(name, True) for name in expected]
