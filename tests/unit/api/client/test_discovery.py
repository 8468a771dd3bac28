"""What a remote server serves, by documents of both forms."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kubelite.api.client.discovery import AGAIN_SECONDS, Discovery, preferred
from kubelite.api.client.mirror import ObjectMirror
from kubelite.api.client.protocol import ServedResource
from kubelite.api.errors import APIError, NotFound, ServiceUnavailable
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.kinds.object_metadata import KeptMetadata, ObjectMetadata
from kubelite.api.kinds.resource_names import ResourceName

FOLLOWED = ["delete", "list", "watch"]
CRON = GroupVersionKind("example.com", "v1", "Cron")
GONE = GroupVersionKind("example.com", "v1", "Gone")


def aggregated(*groups: tuple[str, dict[str, list[tuple[str, str, str]]]]) -> dict[str, Any]:
    """Describe groups, each with its versions in order, each with (resource, kind, scope)."""
    return {
        "kind": "APIGroupDiscoveryList",
        "items": [
            {
                "metadata": {"name": name},
                "versions": [
                    {
                        "version": version,
                        "resources": [
                            {
                                "resource": resource,
                                "responseKind": {"group": "", "version": "", "kind": kind},
                                "scope": scope,
                                "verbs": FOLLOWED,
                            }
                            for resource, kind, scope in resources
                        ],
                    }
                    for version, resources in versions.items()
                ],
            }
            for name, versions in groups
        ],
    }


CRONS = ("example.com", {"v1": [("crons", "Cron", "Namespaced")]})


class Script:
    """Answers discovery paths, and counts what it is asked."""

    def __init__(self, documents: dict[str, Any]) -> None:
        self.documents = documents
        self.asked: list[str] = []
        self.signals: dict[ResourceName, ObjectMirror[Any]] = {}
        self.discovery = Discovery(self.read, self.signal)

    async def read(self, path: str, accept: str) -> bytes:
        assert ("apidiscovery.k8s.io" in accept) == (path in ("/api", "/apis"))
        self.asked.append(path)
        await asyncio.sleep(0)
        answer = self.documents.get(path, NotFound("the server could not find it"))
        if isinstance(answer, APIError):
            raise answer
        return answer if isinstance(answer, bytes) else msgspec.json.encode(answer)

    def signal(self, name: ResourceName) -> ObjectMirror[Any]:
        return self.signals.setdefault(name, ObjectMirror())

    def change(self) -> None:
        """Tell of a definition."""
        mirror = self.signals["apiextensions.k8s.io", "v1", "customresourcedefinitions"]  # type: ignore[index]  # a named tuple is a tuple
        mirror.put(ObjectMetadata(metadata=KeptMetadata(name="crons.example.com")))


@pytest.fixture
def script() -> Script:
    core = ("", {"v1": [("pods", "Pod", "Namespaced"), ("nodes", "Node", "Cluster")]})
    return Script({"/api": aggregated(core), "/apis": aggregated(CRONS)})


async def test_a_kind_is_found_by_the_aggregated_form(script: Script) -> None:
    found = await script.discovery.find(CRON)
    assert found == ServedResource(*CRON[:2], "crons", "Cron", True, tuple(FOLLOWED))
    node = await script.discovery.find(GroupVersionKind("", "v1", "Node"))
    assert (node.resource, node.namespaced) == ("nodes", False)
    assert script.asked == ["/api", "/apis"]


async def test_a_kind_is_found_by_the_old_form() -> None:
    resource = {"name": "crons", "kind": "Cron", "namespaced": True, "verbs": FOLLOWED}
    status = {"name": "crons/status", "kind": "Cron", "namespaced": True, "verbs": ["get"]}
    versions = [
        {"groupVersion": f"example.com/{version}", "version": version}
        for version in ("v1beta1", "v1", "v2")
    ]
    group = {"name": "example.com", "versions": versions, "preferredVersion": versions[1]}
    script = Script(
        {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/api/v1": {"kind": "APIResourceList", "resources": []},
            "/apis": {"kind": "APIGroupList", "groups": [group]},
            "/apis/example.com/v1": {"kind": "APIResourceList", "resources": [resource, status]},
            "/apis/example.com/v1beta1": {"kind": "APIResourceList", "resources": [resource]},
            "/apis/example.com/v2": ServiceUnavailable("an aggregated server is down"),
        }
    )
    assert (await script.discovery.find(CRON)).resource == "crons"
    assert [one.version for one in script.discovery.resources()] == ["v1"]
    # What was known of a version stays while its server does not answer.
    script.documents["/apis/example.com/v1"] = ServiceUnavailable("now this one")
    await script.discovery.refresh()
    assert [one.version for one in script.discovery.resources()] == ["v1"]


async def test_a_kind_that_is_missing_does_not_have_the_documents_read_each_time(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    missing = [script.discovery.find(GONE) for _ in range(20)]
    outcomes = await asyncio.gather(*missing, return_exceptions=True)
    assert {str(one) for one in outcomes} == {
        'no matches for kind "Gone" in version "example.com/v1"'
    }
    assert len(script.asked) == 2  # all of them waited for one read
    script.documents["/apis"] = aggregated(
        ("example.com", {"v1": [("crons", "Cron", "Namespaced"), ("gones", "Gone", "Cluster")]})
    )
    now[0] += AGAIN_SECONDS - 1
    with pytest.raises(NotFound):
        await script.discovery.find(GONE)
    now[0] += 1
    assert (await script.discovery.find(GONE)).resource == "gones"
    assert len(script.asked) == 4
    await script.discovery.find(CRON)
    assert len(script.asked) == 4  # what is known is not asked for


@pytest.mark.parametrize("answer", [ServiceUnavailable("down"), b"<html>", b'{"items": 3}'])
async def test_a_server_that_does_not_answer_is_told_as_such(
    script: Script, answer: bytes | APIError
) -> None:
    script.documents["/apis"] = answer
    for _ in range(2):  # the failure is not remembered as an answer
        with pytest.raises(ServiceUnavailable):
            await script.discovery.find(CRON)
    script.documents["/apis"] = aggregated(CRONS)
    assert (await script.discovery.find(CRON)).resource == "crons"


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():
            await asyncio.sleep(0)


async def test_who_subscribes_hears_of_changes(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubelite.api.client.discovery.SPACING_SECONDS", 0)
    told: list[list[str]] = []
    discovery = script.discovery

    def listen() -> None:
        told.append([one.resource for one in discovery.resources()])

    end = discovery.subscribe(listen)
    await until(lambda: told == [["pods", "nodes", "crons"]])
    assert {name.plural for name in script.signals} == {"apiservices", "customresourcedefinitions"}
    reads = len(script.asked)
    script.change()
    await until(lambda: len(script.asked) == reads + 2)
    assert len(told) == 1  # nothing else is served
    script.documents["/apis"] = aggregated()
    script.change()
    await until(lambda: told[1:] == [["pods", "nodes"]])
    end()
    await discovery.close()


def test_the_first_version_that_has_a_resource_is_preferred() -> None:
    found = [
        ServedResource("g", "v2", "a", "A", True, ("list", "watch", "delete")),
        ServedResource("g", "v2", "b", "B", True, ("create",)),
        ServedResource("g", "v1", "a", "A", True, ("list", "watch", "delete")),
        ServedResource("g", "v1", "c", "C", True, ("list", "watch", "delete", "get")),
    ]
    assert preferred(found) == [found[0], found[3]]
