import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import pytest
from fakes.server import Server

from kubelite.api.errors import (
    AlreadyExists,
    BadRequest,
    Cause,
    Conflict,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    PlainError,
    RequestEntityTooLarge,
)
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.objects import decode, put
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.verbs import PatchType
from kubelite.limits import OBJECT
from kubelite.store.protocol import Operation

PATH = "v1/configmaps"
JSON = dict[str, Any]
T = TypeVar("T")
DEPLOYMENT: JSON = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        },
    },
}


async def test_writes_of_one_object_at_once_all_happen() -> None:
    server = Server()
    await server.create(PATH, {"metadata": {"name": "a"}})
    await asyncio.gather(
        *(server.patch(PATH, "a", {"data": {f"k{number}": "v"}}) for number in range(120))
    )
    assert len(server.get(PATH, "a")["data"]) == 120


async def test_a_write_that_is_overtaken_by_a_deletion_finds_nothing() -> None:
    server = Server()
    await server.create(PATH, {"metadata": {"name": "a"}})
    results = await asyncio.gather(
        server.delete(PATH, "a"),
        server.patch(PATH, "a", {"data": {"x": "y"}}),
        server.delete(PATH, "a"),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [dict, NotFound, NotFound]


async def test_a_conditional_write_that_is_overtaken_conflicts() -> None:
    server = Server()
    made = await server.create(PATH, {"metadata": {"name": "a"}})
    results = await asyncio.gather(
        server.update(PATH, "a", {**made, "data": {"x": "1"}}),
        server.update(PATH, "a", {**made, "data": {"x": "2"}}),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [dict, Conflict]


async def test_applies_at_once_make_one_object() -> None:
    server = Server()
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    await asyncio.gather(
        *(
            server.patch(
                PATH, "a", {**config, "data": {f"k{n}": "v"}}, "apply", field_manager=f"m{n}"
            )
            for n in range(5)
        )
    )
    assert len(server.get(PATH, "a")["data"]) == 5


class Counter:
    """A plugin that lets at most `limit` ConfigMaps be made, kept in an object of its own."""

    name = "ResourceQuota"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.server: Server
        self.settled_as: list[bool] = []

    async def validate(self, request: AdmissionRequest) -> None:
        if request.operation is not Verb.CREATE or request.resource.plural != "configmaps":
            return
        secrets = next(row for row in RESOURCES if row.plural == "secrets")
        entry = self.server.store.get(secrets.key("default", "count"))
        assert entry is not None
        count = decode.decode(entry.value)
        used = int(count["type"])
        if used >= self.limit:
            raise Forbidden("exceeded quota")
        count["type"] = str(used + 1)
        request.reserve(Reserved(put(secrets, count, entry.revision), self.settled_as))


class Reserved:
    def __init__(self, operation: Operation, settled_as: list[bool]) -> None:
        self._operation = operation
        self._settled_as = settled_as

    def operations(self) -> Sequence[Operation]:
        return [self._operation]

    def settled(self, *, committed: bool) -> None:
        self._settled_as.append(committed)


async def test_reservations_hold_under_concurrent_creates() -> None:
    plugin = Counter(7)
    plugin.server = server = Server(plugin)
    await server.create("v1/secrets", {"metadata": {"name": "count"}, "type": "0"})
    results = await asyncio.gather(
        *(server.create(PATH, {"metadata": {"name": f"c{n}"}}) for n in range(20)),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(Forbidden) == 13
    assert len(server.names(PATH)) == 7
    assert server.get("v1/secrets", "count")["type"] == "7"
    assert plugin.settled_as.count(True) == 7


class Labeller:
    """A plugin that changes objects."""

    name = "PodSecurity"

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.object is not None:
            request.object["metadata"].setdefault("labels", {})["seen"] = request.operation.lower()
        request.add_warning("looked at it")

    async def validate(self, request: AdmissionRequest) -> None:
        if request.object is not None and "forbidden" in request.object["metadata"]["name"]:
            raise Forbidden("no")


async def test_admission_changes_and_refuses() -> None:
    server = Server(Labeller())
    made = await server.create(PATH, {"metadata": {"name": "a"}})
    assert made["metadata"]["labels"] == {"seen": "create"}
    changed = await server.patch(PATH, "a", {"data": {"x": "y"}})
    assert changed["metadata"]["labels"] == {"seen": "update"}
    with pytest.raises(Forbidden):
        await server.create(PATH, {"metadata": {"name": "forbidden"}})
    assert server.names(PATH) == ["a"]


async def test_every_cause_is_told() -> None:
    def refuse(*_: Any) -> list[Cause]:
        return [Cause("data", "FieldValueInvalid", "bad"), Cause("x", "FieldValueRequired", "no")]

    server = Server(validate=refuse)
    with pytest.raises(Invalid) as caught:
        await server.create(PATH, {"metadata": {"name": "a"}})
    assert caught.value.message == 'ConfigMap "a" is invalid: [data: bad, x: no]'
    assert len(caught.value.status()["details"]["causes"]) == 2


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ({"metadata": {"name": "b"}}, BadRequest, "does not match the name on the URL"),
        ({"metadata": {"namespace": "x"}}, BadRequest, "does not match the namespace sent"),
        ({"metadata": {"uid": "other"}}, Conflict, "Precondition failed: UID in precondition"),
        ({"metadata": {"resourceVersion": "1"}}, Conflict, "the object has been modified"),
        ({"metadata": {"resourceVersion": "abc"}}, PlainError, 'parsing "abc": invalid syntax'),
        ({"metadata": {"resourceVersion": "-1"}}, PlainError, 'parsing "-1": invalid syntax'),
        ({"metadata": {"resourceVersion": "1_0"}}, PlainError, 'parsing "1_0": invalid syntax'),
        ({"metadata": {"resourceVersion": "9" * 6000}}, PlainError, "value out of range"),
        ({"metadata": "a"}, BadRequest, "metadata"),
        ({"kind": "Secret"}, BadRequest, "cannot be handled as a ConfigMap"),
    ],
)
async def test_updates_that_do_not_fit_are_refused(
    body: JSON, error: type[Exception], message: str
) -> None:
    server = Server()
    await server.create("v1/secrets", {"metadata": {"name": "first"}})
    await server.create(PATH, {"metadata": {"name": "a"}})
    with pytest.raises(error, match=message):
        await server.update(PATH, "a", body)
    is_decoding = "handled as" in message or body.get("metadata") == "a"
    with pytest.raises(Invalid if is_decoding else error, match=message):
        await server.patch(PATH, "a", body)


WEB: JSON = {
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        },
    },
}


NOT_DECODED = (
    'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
)


@pytest.mark.parametrize(
    ("patch_type", "patch", "shown", "problem"),
    [
        (
            "strategic",
            {"spec": {"replicas": "three"}},
            "map[spec:...]",
            "unrecognized type: int32",
        ),
        (
            "strategic",
            {"spec": {"template": {"metadata": {"labels": {"a": 1}}}}},
            "map[spec:...]",
            "cannot convert int64 to string",
        ),
        (
            "strategic",
            {"metadata": {"finalizers": "x"}},
            "map[metadata:...]",
            "cannot restore slice from string",
        ),
        ("strategic", {"spec": [1]}, "map[spec:...]", "cannot restore struct from: slice"),
        (
            "strategic",
            {"metadata": {"labels": True}},
            "map[metadata:...]",
            "cannot restore map from bool",
        ),
        (
            "strategic",
            {"spec": {"paused": "yes"}},
            "map[spec:...]",
            "unrecognized type: bool",
        ),
        (
            "merge",
            {"spec": {"replicas": "three"}},
            "map[spec:...]",
            NOT_DECODED + "string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "json",
            [{"op": "replace", "path": "/spec/paused", "value": 1}],
            "[...]",
            NOT_DECODED + "number into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
    ],
)
async def test_a_patch_that_leaves_values_of_a_wrong_type_is_invalid(
    patch_type: PatchType, patch: Any, shown: str, problem: str
) -> None:
    server = Server()
    await server.create("apps/v1/deployments", WEB)
    with pytest.raises(Invalid) as caught:
        await server.patch("apps/v1/deployments", "web", patch, patch_type)
    whole = f' "" is invalid: patch: Invalid value: "{shown}": {problem}'
    assert caught.value.message == whole
    [cause] = caught.value.causes
    assert (cause.path, cause.reason) == ("patch", "FieldValueInvalid")


@pytest.mark.parametrize("patch_type", ["strategic", "merge"])
async def test_a_strict_patch_with_unknown_fields_is_invalid(patch_type: PatchType) -> None:
    server = Server()
    await server.create("apps/v1/deployments", WEB)
    with pytest.raises(Invalid, match=r'strict decoding error: unknown field "spec\.foo"'):
        await server.patch(
            "apps/v1/deployments",
            "web",
            {"spec": {"foo": 1}},
            patch_type,
            field_validation="Strict",
        )
    with pytest.raises(Invalid, match="strict decoding error"):
        await server.patch(
            "apps/v1/deployments/scale", "web", {"spce": 1}, "merge", field_validation="Strict"
        )


async def test_a_patched_secret_is_not_quoted() -> None:
    server = Server()
    await server.create("v1/secrets", {"metadata": {"name": "a"}, "data": {"key": "c2VjcmV0"}})
    with pytest.raises(Invalid, match="strict decoding error") as caught:
        await server.patch("v1/secrets", "a", {"foo": 1}, field_validation="Strict")
    assert "c2VjcmV0" not in caught.value.message


async def test_the_version_0_stands_for_whatever_is_there() -> None:
    server = Server()
    body = {"metadata": {"name": "a", "resourceVersion": "0"}}
    made = await server.create(PATH, body)
    await server.update(PATH, "a", {**body, "data": {"x": "y"}})
    patched = await server.patch(PATH, "a", {**body, "data": {"z": "1"}})
    assert patched["data"] == {"x": "y", "z": "1"}
    assert int(patched["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    path = "coordination.k8s.io/v1/leases"
    await server.update(path, "a", {"metadata": {"resourceVersion": "0"}})
    with pytest.raises(Invalid) as caught:
        await server.update(path, "a", {"metadata": {"resourceVersion": "0"}})
    assert caught.value.message == (
        'leases.coordination.k8s.io "a" is invalid: metadata.resourceVersion: Invalid value: 0: '
        "must be specified for an update"
    )
    with pytest.raises(PlainError, match="invalid syntax"):
        await server.update(path, "new", {"metadata": {"resourceVersion": "abc"}})


async def test_finalizers_of_built_in_kinds_are_qualified() -> None:
    server = Server()
    body = {"metadata": {"name": "a", "finalizers": ["mine"]}}
    with pytest.raises(Invalid, match="nor is it fully qualified"):
        await server.create(PATH, body)
    await server.create(PATH, {"metadata": {"name": "a"}})
    with pytest.raises(Invalid, match="nor is it fully qualified"):
        await server.patch(PATH, "a", body)


async def test_what_belongs_to_no_namespace_loses_the_one_it_names() -> None:
    server = Server()
    body = {"metadata": {"name": "a", "namespace": "somewhere"}}
    made = await server.create("v1/namespaces", body)
    updated = await server.update("v1/namespaces", "a", body)
    assert "namespace" not in made["metadata"] | updated["metadata"]


async def test_what_only_the_server_gives_cannot_be_changed() -> None:
    server = Server()
    made = await server.create(PATH, {"metadata": {"name": "a", "finalizers": ["x/y"]}})
    body = {
        "metadata": {
            "creationTimestamp": "2020-01-01T00:00:00Z",
            "generation": 9,
            "selfLink": "/x",
            "uid": made["metadata"]["uid"],
            "finalizers": ["x/y"],
        }
    }
    updated = await server.update(PATH, "a", body)
    assert updated["metadata"] == made["metadata"]


async def test_an_update_cannot_mark_an_object_as_deleted() -> None:
    server = Server()
    await server.create(PATH, {"metadata": {"name": "a", "finalizers": ["x/y"]}})
    marked = {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z", "finalizers": ["x/y"]}}
    with pytest.raises(Invalid, match=r"deletionTimestamp: .*field is immutable"):
        await server.update(PATH, "a", marked)
    await server.delete(PATH, "a")
    when = server.get(PATH, "a")["metadata"]["deletionTimestamp"]
    updated = await server.update(PATH, "a", marked)
    assert updated["metadata"]["deletionTimestamp"] == when


async def test_leases_are_made_by_updates_and_must_name_their_version() -> None:
    server = Server()
    path = "coordination.k8s.io/v1/leases"
    await server.update(path, "a", {"spec": {"holderIdentity": "me"}})
    with pytest.raises(Invalid, match="must be specified for an update"):
        await server.update(path, "a", {"spec": {"holderIdentity": "you"}})
    with pytest.raises(NotFound):
        await server.update(PATH, "a", {})


async def test_objects_can_be_too_large() -> None:
    server = Server(validate=lambda *_: [])
    with pytest.raises(RequestEntityTooLarge):
        await server.create(PATH, {"metadata": {"name": "a"}, "data": {"x": "y" * 1_600_000}})


async def test_unknown_fields_warn_or_are_refused() -> None:
    server = Server()
    allowed = server.allowed("create", PATH)
    body = {"metadata": {"name": "a"}, "dta": {}}
    options = WriteOptions(duplicate_fields=('duplicate field "data.x"',))
    written = await server.verbs.create(allowed, dict(body), options)
    assert written.warnings == ('unknown field "dta"', 'duplicate field "data.x"')
    strict = WriteOptions(field_validation="Strict")
    with pytest.raises(BadRequest, match='strict decoding error: unknown field "dta"'):
        await server.verbs.create(allowed, dict(body), strict)
    silent = WriteOptions(field_validation="Ignore", dry_run=True)
    another = {**body, "metadata": {"name": "b"}}
    assert (await server.verbs.create(allowed, another, silent)).warnings == ()


async def test_text_of_secrets_is_stored_encoded() -> None:
    server = Server()
    body = {"metadata": {"name": "a"}, "stringData": {"x": "hello"}, "data": {"y": "eQ=="}}
    made = await server.create("v1/secrets", body)
    assert made["data"] == {"x": "aGVsbG8=", "y": "eQ=="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made


async def test_a_dry_run_has_no_version() -> None:
    server = Server()
    shown = await server.create(PATH, {"metadata": {"name": "a"}}, dry_run=True)
    assert "resourceVersion" not in shown["metadata"]
    assert shown["metadata"]["uid"]


@pytest.mark.parametrize("name", ["", "a/b", "..", "a%2fb"])
async def test_a_name_that_cannot_stand_in_a_path_is_refused(name: str) -> None:
    server = Server()
    with pytest.raises(Invalid, match=r"metadata\.name"):
        await server.create(PATH, {"metadata": {"name": name}})
    assert server.names(PATH) == []


async def test_a_namespaced_object_needs_a_namespace() -> None:
    server = Server()
    allowed = server.allowed("create", PATH, namespace="")
    with pytest.raises(MethodNotAllowed):
        await server.verbs.create(allowed, {"metadata": {"name": "a"}}, WriteOptions())


async def test_a_dry_run_meets_a_name_that_is_taken() -> None:
    server = Server()
    await server.create(PATH, {"metadata": {"name": "a"}})
    with pytest.raises(AlreadyExists):
        await server.create(PATH, {"metadata": {"name": "a"}}, dry_run=True)


async def test_names_that_are_made_up_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(server.randomness, "suffix", lambda: "same")
    await server.create(PATH, {"metadata": {"generateName": "a-"}})
    with pytest.raises(AlreadyExists, match="not able to generate a unique name") as caught:
        await server.create(PATH, {"metadata": {"generateName": "a-"}})
    assert caught.value.retry_after_seconds == 1


async def test_who_scales_owns_the_replicas() -> None:
    server = Server()
    await server.create("apps/v1/deployments", DEPLOYMENT, field_manager="author")
    await server.patch(
        "apps/v1/deployments/scale", "web", {"spec": {"replicas": 5}}, field_manager="scaler"
    )
    entries = server.get("apps/v1/deployments", "web")["metadata"]["managedFields"]
    author, scaler = sorted(entries, key=lambda entry: entry["manager"])
    assert (scaler["manager"], scaler["subresource"]) == ("scaler", "scale")
    assert scaler["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in author["fieldsV1"]["f:spec"]


async def test_managers_go_before_an_object_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OBJECT, "value", 400)
    server = Server()
    made = await server.create(PATH, {"metadata": {"name": "a"}, "data": {"x": "y" * 150}})
    assert "managedFields" not in made["metadata"]
    with pytest.raises(RequestEntityTooLarge, match="etcdserver: request is too large"):
        await server.create(PATH, {"metadata": {"name": "b"}, "data": {"x": "y" * 400}})


class Recording:
    """Does all work at once and remembers what it was said to cost."""

    def __init__(self) -> None:
        self.costs: list[int] = []

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
        self.costs.append(cost_bytes)
        return work()


async def test_all_pure_work_on_an_object_is_charged_with_its_size() -> None:
    server, offload = Server(), Recording()
    server.writer.offload = server.verbs.offload = offload
    body = {"metadata": {"name": "a"}, "data": {"x": "y" * 1000}}
    await server.create(PATH, body, body_bytes=1000)
    # Shaping, managed fields, shaping what admission left, validation.
    assert len(offload.costs) == 4
    assert min(offload.costs) >= 1000
    patches: list[tuple[PatchType, Any]] = [
        ("merge", {"data": {"z": "z"}}),
        ("strategic", {"data": {"z": "w"}}),
        ("json", [{"op": "add", "path": "/data/v", "value": "w"}]),
        ("apply", apply_of("b")),
    ]
    writes = [partial(server.update, PATH, "a", body)]
    writes += [
        partial(server.patch, PATH, "a", patch, kind, field_manager="m") for kind, patch in patches
    ]
    for write in writes:
        offload.costs.clear()
        await write(body_bytes=1000)
        on_body_alone = [cost for cost in offload.costs if cost <= 1000]
        assert len(on_body_alone) <= 1, "the stored object is worked on as well"
        assert min(offload.costs) >= 1000


def apply_of(value: str) -> JSON:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
        "data": {"new": value},
    }


async def test_a_write_that_came_while_another_was_worked_on_is_kept() -> None:
    server = Server()
    await server.create(PATH, {"metadata": {"name": "a"}, "data": {}})

    class Overtaken(Recording):
        async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
            if not self.costs:
                self.costs.append(cost_bytes)
                result = work()  # made from the object as it was …
                await server.patch(PATH, "a", {"data": {"other": "1"}})  # … which now changes
                return result
            return work()

    server.writer.offload = Overtaken()
    await server.patch(PATH, "a", {"data": {"mine": "1"}})
    assert server.get(PATH, "a")["data"] == {"other": "1", "mine": "1"}
