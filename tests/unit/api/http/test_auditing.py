from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientSession
from fakes.server import Server
from fakes.serving import AllowEverything, parts_of, serving
from msgspec.structs import replace

from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy
from kubelite.api.auth.caller import Allowed, Attributes, Caller
from kubelite.api.errors import Forbidden
from kubelite.api.http.pages import Pages, ServePage
from kubelite.api.registry.admission import Admission
from kubelite.api.registry.admission.pod_security import PodSecurity
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


EVERYTHING = """
omitStages: [RequestReceived]
rules:
- {level: None, users: [ignored]}
- {level: Metadata}
"""


class ImpersonatesTheIgnoredOnly(AllowEverything):
    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        if attributes.verb == "impersonate" and attributes.name != "ignored":
            raise Forbidden("not that one")
        return super().authorize(caller, attributes)


class Broken(Pages):
    def __init__(self) -> None:
        """Have no pages."""

    def find(self, path: str) -> ServePage | None:
        raise RuntimeError("broken")


async def test_nobody_slips_out_of_the_log() -> None:
    lines = Lines()
    auditor = Auditor(AuditPolicy.read(EVERYTHING), lines, SystemClock(), SeededRandomness(1))
    parts = parts_of(Server().verbs, authorizer=ImpersonatesTheIgnoredOnly())
    parts = replace(parts, auditor=auditor, pages=Broken())
    async with serving(parts) as (_, port), ClientSession(f"http://127.0.0.1:{port}") as session:
        path = "/api/v1/namespaces/default/pods"
        await session.get(path, headers={"Authorization": "Bearer bad"})
        await session.get(path, headers={"Impersonate-User": "ignored"})
        await session.get(path, headers={"Impersonate-User": "root"})
        await session.get("/version")
    unproved, impersonating, refused, failed = lines.events
    assert (unproved["user"], unproved["responseStatus"]["code"]) == ({"username": ""}, 401)
    assert impersonating["impersonatedUser"]["username"] == "ignored"
    assert (refused["user"]["username"], refused["responseStatus"]["code"]) == ("admin", 403)
    assert (failed["stage"], failed["responseStatus"]["code"]) == ("Panic", 500)


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
        options = {"propagationPolicy": "Background"}
        await session.delete(f"{path}/configmaps/app", json=options)
        await session.get(f"{path}/configmaps/none", headers={"Audit-ID": "mine"})
        await session.get(f"{path}/pods")
        async with session.get(f"{path}/pods?watch=1&timeoutSeconds=1"):
            pass
    made, configured, deleted, missing, *watched = lines.events
    assert made["objectRef"]["name"] == "password"
    assert made["level"] == "Metadata"
    assert made["responseStatus"]["code"] == 201
    assert "czNjcmV0" not in str(made)
    assert made["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert configured["requestObject"]["data"] == {"a": "1"}
    assert configured["responseObject"]["metadata"]["namespace"] == "default"
    assert deleted["requestObject"] == options
    assert missing["auditID"] == "mine"
    assert missing["responseStatus"]["code"] == 404
    assert watched[0]["stage"] == "ResponseStarted"


async def test_what_pod_security_found_is_in_the_event() -> None:
    lines = Lines()
    policy = "omitStages: [RequestReceived]\nrules: [{level: Metadata}]"
    auditor = Auditor(AuditPolicy.read(policy), lines, SystemClock(), SeededRandomness(1))
    server = Server()
    server.writer.admission = Admission.ordered(PodSecurity(server.mirrors))
    labels = {
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/audit": "restricted",
    }
    await server.create("v1/namespaces", {"metadata": {"name": "shop", "labels": labels}})
    parts = replace(parts_of(server.verbs), auditor=auditor)
    async with serving(parts) as (_, port), ClientSession(f"http://127.0.0.1:{port}") as session:
        for number, privileged in enumerate((False, True)):
            container = {
                "name": "c",
                "image": "i",
                "securityContext": {"privileged": privileged},
            }
            pod = {"metadata": {"name": f"p{number}"}, "spec": {"containers": [container]}}
            await session.post("/api/v1/namespaces/shop/pods", json=pod)
    for event, code in zip(lines.events, (201, 403), strict=True):
        assert event["responseStatus"]["code"] == code
        annotations = event["annotations"]
        assert annotations["pod-security.kubernetes.io/enforce-policy"] == "baseline:latest"
        assert annotations["pod-security.kubernetes.io/audit-violations"].startswith(
            'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
            if code == 201
            else 'would violate PodSecurity "restricted:latest": privileged'
        )


async def test_requests_for_deprecated_resources_are_marked() -> None:
    lines = Lines()
    policy = "omitStages: [RequestReceived]\nrules: [{level: Metadata}]"
    auditor = Auditor(AuditPolicy.read(policy), lines, SystemClock(), SeededRandomness(1))
    parts = replace(parts_of(Server().verbs), auditor=auditor)
    async with serving(parts) as (_, port), ClientSession(f"http://127.0.0.1:{port}") as session:
        await session.get("/api/v1/endpoints")
        await session.get("/api/v1/pods")
        shown = await (await session.get("/metrics")).text()
    old, current, _ = (event["annotations"] for event in lines.events)
    assert old["k8s.io/deprecated"] == "true"
    assert "k8s.io/deprecated" not in current
    assert (
        'apiserver_requested_deprecated_apis{group="",version="v1",resource="endpoints",subresource="",'
        'removed_release=""} 1\n'
    ) in shown
