"""Components inside the process are in the audit log like everybody."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.audited import AuditedClient
from kubelite.api.client.local import LocalClient
from kubelite.api.errors import Forbidden, NotFound
from kubelite.api.kinds.authentication import TokenRequest
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.registry.verbs import Verbs
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine

ROOT = Caller("root", ("system:masters",))
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: [silent]}
- {level: Metadata, resources: [{group: "", resources: [secrets, serviceaccounts/token]}]}
- {level: RequestResponse}
"""
SETTINGS = ConfigMap(metadata=ObjectMeta(name="a", namespace="default"), data={"k": "v"})


class Plane:
    """A control plane and its audit log."""

    def __init__(self, folder: Path, policy: str = POLICY) -> None:
        clock, randomness = SetClock(datetime(2026, 9, 1, tzinfo=UTC)), SeededRandomness(1)
        self._path = folder / "audit.log"
        bounds = Bounds(size_bytes=10**6, age_days=1, backups=1)
        self._lines = LineLog(self._path, bounds, clock)
        self._lines.start()
        auditor = (
            Auditor(AuditPolicy.read(policy), self._lines, clock, randomness) if policy else None
        )
        self.plane = ControlPlane(
            EmbeddedStore(MemoryEngine(), clock=clock),
            clock=clock,
            randomness=randomness,
            signing_keys=[new_key()],
            certificates=ClientCertificates([], clock),
            config=Config(),
            auditor=auditor,
        )

    def client(self, caller: Caller = ROOT) -> LocalClient:
        return self.plane.client(caller, "tester")

    def events(self) -> list[dict[str, Any]]:
        """Return what was written since the bootstrap."""
        self._lines.stop()
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [line for line in lines if line["userAgent"] == "kubelite/tester"]


@pytest.fixture
async def audited(tmp_path: Path) -> Plane:
    audited = Plane(tmp_path)
    await audited.plane.bootstrap("192.0.2.1", 6443)
    return audited


async def _get(client: LocalClient) -> Any:
    await client.get(ConfigMap, "a", "default")


async def _list(client: LocalClient) -> Any:
    await client.list(ConfigMap, "default", field_selector="metadata.name=a")


async def _create(client: LocalClient) -> Any:
    await client.create(ConfigMap(metadata=ObjectMeta(name="b", namespace="default")))


async def _update(client: LocalClient) -> Any:
    await client.update(SETTINGS)


async def _patch(client: LocalClient) -> Any:
    await client.patch(ConfigMap, "a", {"data": {"k": "w"}}, "default")


async def _delete(client: LocalClient) -> Any:
    await client.delete(ConfigMap, "a", "default")


PATH = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize(
    ("call", "verb", "uri", "code", "with_request", "with_response"),
    [
        (_get, "get", f"{PATH}/a", 200, False, True),
        (_list, "list", f"{PATH}?fieldSelector=metadata.name%3Da", 200, False, False),
        (_create, "create", PATH, 201, True, True),
        (_update, "update", f"{PATH}/a", 200, True, True),
        (_patch, "patch", f"{PATH}/a", 200, True, True),
        (_delete, "delete", f"{PATH}/a", 200, False, False),
    ],
)
async def test_every_call_has_a_line(
    audited: Plane,
    call: Callable[[LocalClient], Awaitable[Any]],
    verb: str,
    uri: str,
    code: int,
    with_request: bool,
    with_response: bool,
) -> None:
    await audited.plane.client(ROOT, "preparer").create(SETTINGS)
    await call(audited.client())
    (event,) = audited.events()
    assert (event["verb"], event["requestURI"], event["responseStatus"]["code"]) == (
        verb,
        uri,
        code,
    )
    assert event["user"] == {"username": "root", "groups": ["system:masters"]}
    assert event["objectRef"]["resource"] == "configmaps"
    assert ("requestObject" in event, "responseObject" in event) == (with_request, with_response)
    assert event["annotations"]["authorization.k8s.io/decision"] == "allow"


async def test_refusals_and_failures(audited: Plane) -> None:
    with pytest.raises(Forbidden):
        await audited.client(Caller("nobody")).get(Secret, "a", "default")
    with pytest.raises(NotFound):
        await audited.client().get(Secret, "a", "default")
    events = audited.events()
    assert [event["responseStatus"]["code"] for event in events] == [403, 404]
    assert events[0]["user"]["username"] == "nobody"
    assert events[0]["annotations"]["authorization.k8s.io/decision"] == "forbid"


async def test_no_secret_and_no_token_at_metadata(audited: Plane) -> None:
    client = audited.client()
    meta = ObjectMeta(name="a", namespace="default")
    await client.create(Secret(metadata=meta, data={"k": "b3BlbnNlc2FtZQ=="}))
    await client.create(ServiceAccount(metadata=meta))
    answer = await client.post(ServiceAccount, "a", "token", TokenRequest(), "default")
    events = audited.events()
    assert [event["level"] for event in events] == ["Metadata", "RequestResponse", "Metadata"]
    assert events[2]["requestURI"] == "/api/v1/namespaces/default/serviceaccounts/a/token"
    assert "b3BlbnNlc2FtZQ==" not in str(events)
    assert answer["status"]["token"] not in str(events)


async def test_the_policy_decides(audited: Plane) -> None:
    with pytest.raises(Forbidden):
        await audited.client(Caller("silent")).get(ConfigMap, "a", "default")
    assert audited.events() == []


async def test_a_call_that_is_cut_off_has_a_line_too(
    audited: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Verbs, "delete", hang)
    task = asyncio.create_task(audited.client().delete(ConfigMap, "a", "default"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [event["responseStatus"]["code"] for event in audited.events()] == [499]


def test_without_a_policy_the_client_is_the_plain_one(tmp_path: Path) -> None:
    assert type(Plane(tmp_path).client()) is AuditedClient
    assert type(Plane(tmp_path, policy="").client()) is LocalClient
