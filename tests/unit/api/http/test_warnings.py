"""What clients are warned of, as the Warning headers of answers."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from fakes.recorded_offload import RecordedOffload
from fakes.rule_samples import container, pod
from fakes.server import Server
from fakes.serving import parts_of, serving

from kubelite.api.machinery.work_cost import rules_cost, warnings_cost
from kubelite.api.registry.options import WriteOptions
from kubelite.metrics import REGISTRY

JSON = dict[str, Any]
DEFAULT = "/api/v1/namespaces/default"
ENDPOINTS = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
PRESERVED = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove "
    "them or set propagationPolicy=Orphan to suppress this warning"
)
TWICE = [{"name": "A", "value": "a"}, {"name": "A", "value": "b"}]
HIDDEN = 'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'
POD: JSON = {
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "a", "image": "b", "env": TWICE}]},
}
JOB: JSON = {
    "metadata": {"name": "once"},
    "spec": {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}
        }
    },
}
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "u1"}
OWNERS = (
    ".metadata.ownerReferences contains duplicate entries{}; API server dedups owner references in 1.20+, and "
    "may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u1"
)


class Client:
    """Asks, and returns status and warnings."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._address = f"http://127.0.0.1:{port}"

    async def ask(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, Sequence[str]]:
        async with self._session.request(
            method, self._address + path, json=body, headers={"Content-Type": content_type}
        ) as answer:
            told = answer.headers.getall("Warning", [])
            assert all(one.startswith('299 - "') and one.endswith('"') for one in told)
            return answer.status, [one[7:-1].replace('\\"', '"') for one in told]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    server = Server()
    await server.create("v1/namespaces", {"metadata": {"name": "default"}})
    async with serving(parts_of(server.verbs)) as (_, port), aiohttp.ClientSession() as session:
        yield Client(session, port)


async def test_a_new_object_and_its_trial_are_warned_about(client: Client) -> None:
    assert await client.ask("POST", f"{DEFAULT}/pods?dryRun=All", POD) == (201, [HIDDEN])
    assert await client.ask("POST", f"{DEFAULT}/pods", POD) == (201, [HIDDEN])


async def test_what_is_refused_has_causes_and_no_warnings(client: Client) -> None:
    wrong = {**POD, "spec": {**POD["spec"], "restartPolicy": "Maybe"}}
    assert await client.ask("POST", f"{DEFAULT}/pods", wrong) == (422, [])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{DEFAULT}/endpoints", 200),
        ("GET", f"{DEFAULT}/endpoints/none", 404),
        ("GET", "/api/v1/endpoints", 200),
        ("GET", "/api/v1/endpoints?watch=true&timeoutSeconds=1", 200),
        ("POST", f"{DEFAULT}/endpoints", 400),
    ],
)
async def test_every_answer_about_endpoints_warns(
    client: Client, method: str, path: str, status: int
) -> None:
    assert await client.ask(method, path) == (status, [ENDPOINTS])


async def test_a_path_that_is_not_served_is_not_deprecated(client: Client) -> None:
    path = f"{DEFAULT}/endpoints/a/invented"
    assert await client.ask("GET", path) == (404, [])
    assert "invented" not in REGISTRY.exposition()  # callers must not make labels


async def test_component_statuses_are_deprecated(client: Client) -> None:
    text = "v1 ComponentStatus is deprecated in v1.19+"
    assert await client.ask("GET", "/api/v1/componentstatuses") == (200, [text])


async def test_who_deletes_a_job_hears_of_its_pods(client: Client) -> None:
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    for query, warnings in (
        ("", [PRESERVED]),
        ("?propagationPolicy=Background", []),
        ("?orphanDependents=true", []),
    ):
        await client.ask("POST", jobs, JOB)
        assert await client.ask("DELETE", f"{jobs}/once{query}") == (200, warnings)
    assert await client.ask("DELETE", jobs) == (200, [PRESERVED])


async def test_owners_that_stand_twice_are_told_and_dropped(client: Client) -> None:
    path = f"{DEFAULT}/configmaps"
    thing = {"metadata": {"name": "a", "ownerReferences": [OWNER, OWNER]}}
    assert await client.ask("POST", path, thing) == (201, [OWNERS.format("")])
    assert await client.ask("PUT", f"{path}/a", thing) == (200, [OWNERS.format("")])
    merged = OWNERS.format(" after mutating admission happens")
    patch = "application/merge-patch+json"
    assert await client.ask("PATCH", f"{path}/a", thing, patch) == (200, [merged])


@pytest.mark.parametrize("wants", [True, False])
async def test_warnings_are_worked_out_once_with_validation_and_only_for_who_is_shown_them(
    wants: bool,
) -> None:
    offload = RecordedOffload()
    server = Server()
    server.writer.offload = offload
    body = pod(containers=[container(env=TWICE)])
    body["metadata"] = {"name": "a"}
    options = WriteOptions(wants_warnings=wants, body_bytes=1000)
    written = await server.verbs.create(server.allowed("create", "v1/pods"), body, options)
    assert written.warnings == (HIDDEN,) * wants
    extra = warnings_cost(1000) if wants else 0
    assert offload.costs.count(rules_cost(1000) + extra) == 1
