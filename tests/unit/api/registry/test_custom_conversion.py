"""Conversions of custom resources by a webhook, which is a function of the test."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from fakes.custom_server import CRDS, define, definition, version
from fakes.server import Server

from kubelite.api.errors import APIError, Conflict
from kubelite.api.registry.options import ReadOptions, WatchOptions
from kubelite.api.registry.watch import PLAIN
from kubelite.limits import WATCH_BACKLOG

JSON = dict[str, Any]
V1, V2 = "example.com/v1/cats", "example.com/v2/cats"
WEBHOOK = {
    "strategy": "Webhook",
    "webhook": {
        "clientConfig": {"url": "https://hook.example.com/convert"},
        "conversionReviewVersions": ["v9", "v1"],
    },
}
FIELD = {"example.com/v1": "a", "example.com/v2": "b"}  # the name of the one field by version


class Converter:
    """A webhook that renames a field; `answer` may spoil what it answers."""

    def __init__(self) -> None:
        self.requests: list[JSON] = []
        self.answer: Callable[[JSON], JSON | bytes] = lambda response: response
        self.gate: asyncio.Event | None = None

    def uid(self) -> str:
        return f"uid-{len(self.requests)}"

    async def post(self, client_config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        assert seconds == 30
        assert client_config["url"] == "https://hook.example.com/convert"
        if self.gate is not None:
            await self.gate.wait()
        review = msgspec.json.decode(body)
        request = review["request"]
        self.requests.append(request)
        answer = self.answer(self.converted(review, request))
        return answer if isinstance(answer, bytes) else msgspec.json.encode(answer)

    def converted(self, review: JSON, request: JSON) -> JSON:
        wanted = request["desiredAPIVersion"]
        objects = []
        for item in request["objects"]:
            value = (item.get("spec") or {}).get(FIELD[item["apiVersion"]])
            objects.append({**item, "apiVersion": wanted, "spec": {FIELD[wanted]: value}})
        result = {"status": "Success"}
        response = {"uid": request["uid"], "convertedObjects": objects, "result": result}
        return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}


@pytest.fixture
def converter() -> Converter:
    return Converter()


@pytest.fixture
async def server(converter: Converter) -> Server:
    made = Server(hooks=converter)
    v2 = version("v2", storage=False)
    await define(made, definition(version(), v2, conversion=WEBHOOK))
    return made


async def read(server: Server, path: str, name: str) -> JSON:
    found: JSON = msgspec.json.decode(
        await server.verbs.get(server.allowed("get", path, name), ReadOptions())
    )
    return found


async def read_list(server: Server, path: str) -> list[JSON]:
    listed = await server.verbs.list(server.allowed("list", path), ReadOptions())
    return [msgspec.json.decode(item) for item in listed.items]


async def eventually(is_so: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come")


def cat(name: str, **spec: Any) -> JSON:
    return {"metadata": {"name": name}, "spec": spec}


async def test_each_version_shows_its_own_form(server: Server, converter: Converter) -> None:
    await server.create(V1, cat("one", a=1))
    assert converter.requests == []
    seen = await read(server, V2, "one")
    assert (seen["apiVersion"], seen["spec"]) == ("example.com/v2", {"b": 1})
    made = await server.create(V2, cat("two", b=2))
    assert made["spec"] == {"b": 2}
    assert server.get(V1, "two")["spec"] == {"a": 2}
    changed = await server.patch(V2, "one", {"spec": {"b": 3}})
    assert (changed["apiVersion"], changed["spec"]) == ("example.com/v2", {"b": 3})
    assert server.get(V1, "one")["spec"] == {"a": 3}


async def test_a_list_is_converted_in_one_call(server: Server, converter: Converter) -> None:
    for number in range(30):
        await server.create(V1, cat(f"c{number:02}", a=number))
    listed = await read_list(server, V2)
    assert [item["spec"] for item in listed] == [{"b": number} for number in range(30)]
    assert [len(request["objects"]) for request in converter.requests] == [30]
    converter.requests.clear()
    assert len(await read_list(server, V1)) == 30
    assert converter.requests == []


def spoil(**response: Any) -> Callable[[JSON], JSON]:
    return lambda answer: {**answer, "response": {**answer["response"], **response}}


def spoil_object(**fields: Any) -> Callable[[JSON], JSON]:
    def spoiled(answer: JSON) -> JSON:
        objects = [{**item, **fields} for item in answer["response"]["convertedObjects"]]
        return spoil(convertedObjects=objects)(answer)

    return spoiled


BEGIN = "conversion webhook for example.com/v1, Kind=Cat "


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda _: b"{", "failed: couldn't get version/kind; json parse error"),
        (lambda _: b'"text"', "failed: couldn't get version/kind; json parse error: json: cannot"),
        (lambda answer: {**answer, "kind": "Other"}, "failed: expected webhook response of"),
        (lambda answer: {**answer, "response": None}, "failed: no response provided"),
        (spoil(uid="x"), 'failed: expected response.uid="uid-1", got "x"'),
        (spoil(result={"message": "cannot"}), "failed: cannot"),
        (spoil(result={}), "failed: response.result.status was '', not 'Success'"),
        (spoil(convertedObjects=[]), "returned 0 objects, expected 1"),
        (spoil(convertedObjects=[1]), "returned invalid object at index 0: not an object"),
        (
            spoil_object(apiVersion="example.com/v7"),
            "returned invalid object at index 0: invalid g",
        ),
        (spoil_object(kind="Dog"), "returned invalid object at index 0: invalid kind"),
        (spoil_object(metadata=None), "returned invalid metadata: missing metadata"),
        (spoil_object(metadata={"name": "x"}), "returned invalid object: must have the same name"),
    ],
)
async def test_what_is_answered_is_checked(
    server: Server, converter: Converter, answer: Callable[[JSON], JSON | bytes], message: str
) -> None:
    await server.create(V1, cat("one", a=1))
    await read(server, V2, "one")
    converter.answer = answer
    with pytest.raises(APIError) as failed:
        await read(server, V2, "one")
    assert (failed.value.code, failed.value.reason) == (500, "")
    assert failed.value.message.startswith(BEGIN + message)
    assert server.get(V1, "one")["spec"] == {"a": 1}
    await server.delete(V1, "one")


async def test_labels_may_change_and_all_other_metadata_stays(
    server: Server, converter: Converter
) -> None:
    made = await server.create(V1, cat("one", a=1))

    def relabel(answer: JSON) -> JSON:
        (item,) = answer["response"]["convertedObjects"]
        metadata = {**item["metadata"], "labels": {"x": "y"}, "finalizers": ["x/y"]}
        return spoil_object(metadata=metadata)(answer)

    converter.answer = relabel
    seen = await read(server, V2, "one")
    assert seen["metadata"]["labels"] == {"x": "y"}
    assert "finalizers" not in seen["metadata"]
    assert seen["metadata"]["uid"] == made["metadata"]["uid"]


async def test_nothing_is_stored_if_it_cannot_be_converted(
    server: Server, converter: Converter
) -> None:
    converter.answer = spoil(result={"status": "Failure", "message": "no"})
    with pytest.raises(APIError, match="Kind=Cat failed: no"):
        await server.create(V2, cat("one", b=1))
    assert server.names(V1) == []


class Watching:
    """What a watch of v2 is told."""

    def __init__(self) -> None:
        self.events: list[JSON] = []
        self.ended: list[APIError | None] = []

    def deliver(self, frames: Sequence[bytes]) -> None:
        self.events += map(msgspec.json.decode, frames)

    @property
    def told(self) -> list[tuple[str, Any]]:
        return [(one["type"], one["object"].get("spec")) for one in self.events]

    async def begin(self, server: Server, **options: Any) -> None:
        async def drain() -> None:
            await asyncio.sleep(0)

        opened = await server.verbs.watch(
            server.allowed("watch", V2),
            WatchOptions(**options),
            PLAIN,
            self.deliver,
            self.ended.append,
        )
        await opened.begin(drain)


async def test_a_watch_is_told_in_its_version(server: Server, converter: Converter) -> None:
    await server.create(V1, cat("one", a=1))
    watching = Watching()
    await watching.begin(server)
    await server.patch(V1, "one", {"spec": {"a": 2}})
    await server.create(V1, cat("two", a=7))
    await server.delete(V1, "one")
    await eventually(lambda: len(watching.events) == 4)
    assert watching.told == [
        ("ADDED", {"b": 1}),
        ("MODIFIED", {"b": 2}),
        ("ADDED", {"b": 7}),
        ("DELETED", {"b": 2}),
    ]
    revisions = [int(one["object"]["metadata"]["resourceVersion"]) for one in watching.events]
    assert revisions == sorted(revisions)


async def test_a_watch_goes_on_from_a_revision(server: Server) -> None:
    first = await server.create(V1, cat("one", a=1))
    await server.patch(V1, "one", {"spec": {"a": 2}})
    watching = Watching()
    await watching.begin(server, resource_version=first["metadata"]["resourceVersion"])
    await server.patch(V1, "one", {"spec": {"a": 3}})
    await eventually(lambda: len(watching.events) == 2)
    assert watching.told == [("MODIFIED", {"b": 2}), ("MODIFIED", {"b": 3})]


async def test_a_webhook_that_hangs_holds_only_its_own_version(
    server: Server, converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Watching()
    await watching.begin(server)
    converter.gate = asyncio.Event()
    for number in range(3):
        await server.create(V1, cat(f"c{number}", a=number))
    assert server.names(V1) == ["c0", "c1", "c2"]
    assert watching.events == []
    converter.gate.set()
    await eventually(lambda: len(watching.events) == 3)
    converter.gate = asyncio.Event()
    monkeypatch.setattr(WATCH_BACKLOG, "value", 2000)
    for number in range(10):
        await server.create(V1, cat(f"d{number}", a=number))
    await eventually(lambda: bool(watching.ended))
    assert [error and error.code for error in watching.ended] == [410]
    converter.gate.set()


async def test_a_watch_ends_with_the_error_of_its_webhook(
    server: Server, converter: Converter
) -> None:
    watching = Watching()
    await watching.begin(server)
    converter.answer = spoil(result={"message": "no"})
    await server.create(V1, cat("one", a=1))
    await eventually(lambda: bool(watching.ended))
    (error,) = watching.ended
    assert error is not None
    assert error.message == BEGIN + "failed: no"


async def test_without_a_webhook_nothing_is_lost(converter: Converter) -> None:
    server = Server()
    await define(server, definition(version(), version("v2", storage=False), conversion=WEBHOOK))
    await server.create(V1, cat("one", a=1))
    with pytest.raises(APIError, match="this server calls no webhooks"):
        await read(server, V2, "one")
    assert server.names(CRDS) == ["cats.example.com"]


def owners(item: JSON) -> dict[tuple[str, str], JSON]:
    return {
        (each["manager"], each["apiVersion"]): each["fieldsV1"]
        for each in item["metadata"].get("managedFields") or ()
    }


async def test_managers_of_another_version_lose_what_moves(
    server: Server, converter: Converter
) -> None:
    await server.create(V1, cat("one", a=1), field_manager="first")
    unchanged = await server.patch(V2, "one", {"metadata": {"labels": {"x": "y"}}})
    v1 = ("first", "example.com/v1")
    assert owners(unchanged)[v1] == {"f:spec": {".": {}, "f:a": {}}}
    changed = await server.patch(V2, "one", {"spec": {"b": 2}}, field_manager="second")
    assert owners(changed)[v1] == {"f:spec": {}}
    assert owners(changed)["second", "example.com/v2"] == {"f:spec": {"f:b": {}}}
    compared = [each for each in converter.requests if len(each["objects"]) == 2]
    assert compared
    assert all("managedFields" not in item["metadata"] for item in compared[-1]["objects"])


async def test_an_apply_contests_what_moves(server: Server) -> None:
    await server.create(V1, cat("one", a=1), field_manager="first")
    config = {"apiVersion": "example.com/v2", "kind": "Cat", **cat("one", b=2)}
    with pytest.raises(Conflict, match=r'conflict with "first" using example\.com/v1: \.spec\.a'):
        await server.patch(V2, "one", config, "apply", field_manager="second")
    taken = await server.patch(V2, "one", config, "apply", field_manager="second", force=True)
    assert owners(taken)["first", "example.com/v1"] == {"f:spec": {}}


async def test_owners_that_cannot_be_compared_are_forgotten(
    server: Server, converter: Converter
) -> None:
    await server.create(V2, cat("one", b=1), field_manager="first")
    converter.answer = lambda _: b"no"
    changed = await server.patch(V1, "one", {"spec": {"a": 2}})
    assert owners(changed) == {}
    config = {"apiVersion": "example.com/v1", "kind": "Cat", **cat("one", a=3)}
    applied = await server.patch(V1, "one", config, "apply", field_manager="third", force=True)
    assert applied["spec"] == {"a": 3}
