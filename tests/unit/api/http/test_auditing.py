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
from kubelite.api.http.connections import Connections, options_of
from kubelite.api.http.pages import Pages, ServePage
from kubelite.api.registry.admission import Admission
from kubelite.api.registry.admission.pod_security import PodSecurity
from kubelite.api.registry.admission.request import AdmissionRequest, JudgesConnections
from kubelite.api.registry.options import DeletionOptions, ReadOptions
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


class Annotates(JudgesConnections):
    """Notes the operation of every request."""

    name = "ValidatingAdmissionPolicy"

    async def validate(self, request: AdmissionRequest) -> None:
        request.annotate("x.io/operation", request.operation.value)
        request.annotate("x.io/first", request.attributes.name)


async def test_admission_annotates_the_event_of_every_write() -> None:
    lines = Lines()
    auditor = Auditor(AuditPolicy.read(EVERYTHING), lines, SystemClock(), SeededRandomness(1))
    server = Server()
    server.admit_by(Annotates())
    parts = replace(parts_of(server.verbs), auditor=auditor)
    maps, pods = "configmaps", "pods"
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    asked: list[tuple[str, str, Any, str]] = [
        ("POST", maps, {"metadata": {"name": "a"}}, "CREATE"),
        ("POST", maps, {"metadata": {"name": "b"}}, "CREATE"),
        ("PUT", f"{maps}/a", {"metadata": {"name": "a"}, "data": {"x": "y"}}, "UPDATE"),
        ("DELETE", f"{maps}/a", None, "DELETE"),
        ("DELETE", f"{maps}?dryRun=All", None, "DELETE"),
        ("DELETE", maps, {"gracePeriodSeconds": 0}, "DELETE"),
        ("POST", pods, pod, "CREATE"),
        ("POST", f"{pods}/p/binding", binding, "CREATE"),
        ("POST", f"{pods}/p/eviction", {"metadata": {"name": "p"}}, "CREATE"),
    ]
    async with serving(parts) as (_, port), ClientSession(f"http://127.0.0.1:{port}") as session:
        for method, path, body, _ in asked:
            url = f"/api/v1/namespaces/default/{path}"
            answer = await session.request(method, url, json=body)
            assert answer.status < 300, await answer.text()
    told = [event["annotations"].get("x.io/operation") for event in lines.events]
    assert told == [operation for *_, operation in asked]


async def test_admission_annotates_connections() -> None:
    server = Server()
    server.admit_by(Annotates())
    pods = server.resources.find("", "v1", "pods")
    assert pods is not None
    kind = pods.subresources["exec"].kind
    form = Connections().form(kind)
    assert form is not None
    allowed = server.allowed("create", "v1/pods/exec", "p")
    await server.verbs.connect(allowed, pods, options_of({}, "", kind), form)
    assert server.annotations["x.io/operation"] == "CONNECT"


async def test_the_first_value_of_an_annotation_stays() -> None:
    server = Server()
    for name in ("a", "b"):
        await server.create("v1/configmaps", {"metadata": {"name": name}})
    server.admit_by(Annotates())
    allowed = server.allowed("deletecollection", "v1/configmaps")
    await server.verbs.delete_collection(allowed, ReadOptions(), DeletionOptions())
    assert server.annotations["x.io/first"] == "a"


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
