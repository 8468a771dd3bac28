from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientSession
from fakes.server import Server
from fakes.serving import parts_of, serving
from msgspec.structs import replace

from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy
from kubelite.clock import SystemClock
from kubelite.randomness import SeededRandomness


class Lines(LineLog):
    def __init__(self) -> None:
        super().__init__(Path("unused"), Bounds(), SystemClock())
        self.events: list[dict[str, Any]] = []

    def put(self, line: bytes) -> None:
        self.events.append(msgspec.json.decode(line))


POLICY = """
omitStages: [RequestReceived]
rules:
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: RequestResponse, resources: [{group: "", resources: [configmaps]}]}
- {level: Metadata, verbs: [watch]}
"""


async def test_requests_are_written_as_the_policy_says() -> None:
    lines = Lines()
    auditor = Auditor(AuditPolicy.read(POLICY), lines, SystemClock(), SeededRandomness(1))
    parts = replace(parts_of(Server().verbs), auditor=auditor)
    async with serving(parts) as (_, port), ClientSession(f"http://127.0.0.1:{port}") as session:
        path = "/api/v1/namespaces/default"
        secret = {"metadata": {"name": "password"}, "data": {"a": "czNjcmV0"}}
        config = {"metadata": {"name": "app"}, "data": {"a": "1"}}
        await session.post(f"{path}/secrets", json=secret)
        await session.post(f"{path}/configmaps", json=config)
        await session.get(f"{path}/configmaps/none", headers={"Audit-ID": "mine"})
        await session.get(f"{path}/pods")
        async with session.get(f"{path}/pods?watch=1&timeoutSeconds=1"):
            pass
    made, configured, missing, *watched = lines.events
    assert made["level"] == "Metadata"
    assert made["responseStatus"]["code"] == 201
    assert "czNjcmV0" not in str(made)
    assert made["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert configured["requestObject"]["data"] == {"a": "1"}
    assert configured["responseObject"]["metadata"]["namespace"] == "default"
    assert missing["auditID"] == "mine"
    assert missing["responseStatus"]["code"] == 404
    assert watched[0]["stage"] == "ResponseStarted"
