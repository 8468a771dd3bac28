"""Custom resources: their objects beside built-in ones of the same size, and what a thousand definitions cost."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testbed.hosts import Server

from bench.clients import administrator, loop_lag, post_all
from bench.processes import resident_megabytes
from bench.report import Figure
from bench.wrk import free_port, wrk

GROUP = "bench.example.com"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OBJECTS, WRITERS = 2000, 16
MANY = 1000  # definitions
FIELDS = 100
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# About 3 KB each, with as many values.
CUSTOM: dict[str, Any] = {"spec": {f"field{number}": "v" * 16 for number in range(FIELDS)}}
TEMPLATE: dict[str, Any] = {
    "template": {
        "spec": {
            "containers": [
                {
                    "name": f"c{index}",
                    "image": "nginx",
                    "env": [{"name": f"E{number}", "value": "v" * 24} for number in range(12)],
                }
                for index in range(4)
            ]
        }
    }
}


def measure(folder: Path) -> Iterator[Figure]:
    """Start a server without a node, and fill it."""
    server = Server(None, folder, "--disable-agent", port=free_port())
    server.start()
    try:
        yield from _objects(server)
        yield from _definitions(server)
        yield loop_lag(server, "custom")
    finally:
        server.stop()


def definition(number: int) -> dict[str, Any]:
    """Return a definition whose objects have `FIELDS` fields."""
    fields = {f"field{index}": {"type": "string", "maxLength": 99} for index in range(FIELDS)}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}
    return {
        "metadata": {"name": f"things{number}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": f"things{number}", "kind": f"Thing{number}"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _objects(server: Server) -> Iterator[Figure]:
    context = administrator(server.kubeconfig)
    asyncio.run(post_all(server, context, DEFINITIONS, iter([definition(0)]), 1))
    _wait_until_established(server, f"things0.{GROUP}")
    kinds = {
        "custom object": (f"/apis/{GROUP}/v1/namespaces/default/things0", CUSTOM),
        "PodTemplate": ("/api/v1/namespaces/default/podtemplates", TEMPLATE),
    }
    token = server.kubectl("create", "token", "default").strip()
    server.kubectl(
        "create",
        "clusterrolebinding",
        "all",
        "--clusterrole=cluster-admin",
        "--serviceaccount=default:default",
    )
    made: dict[str, float] = {}
    for kind, (path, content) in kinds.items():
        bodies = ({"metadata": {"name": f"o{number}"}, **content} for number in range(OBJECTS))
        started = time.monotonic()
        asyncio.run(post_all(server, context, path, bodies, WRITERS))
        made[kind] = OBJECTS / (time.monotonic() - started)
        yield Figure(f"custom: CREATE of a {kind} of 3 KB, {WRITERS} clients", made[kind], "/s")
        got = wrk(server, token, f"{path}/o1", WRITERS, seconds=4)
        yield Figure(f"custom: GET of a {kind}", got.requests / 4, "/s")
        listed = wrk(server, token, f"{path}?limit=500", WRITERS, seconds=4)
        yield Figure(f"custom: LIST of 500, {kind}", listed.requests / 4, "/s")
    ratio = made["PodTemplate"] / made["custom object"]
    yield Figure("custom: time of a CREATE, in those of a built-in kind", ratio, "x", "<= 1.3")


def _wait_until_established(server: Server, name: str) -> None:
    """Wait for a definition; `kubectl wait` gives up on one that has no conditions yet, which are null."""
    path = 'jsonpath={.status.conditions[?(@.type=="Established")].status}'
    while server.kubectl("get", "crd", name, "-o", path, check=False) != "True":
        time.sleep(0.1)


def _definitions(server: Server) -> Iterator[Figure]:
    context, before = administrator(server.kubeconfig), resident_megabytes(server.pid)
    started = time.monotonic()
    bodies = (definition(number) for number in range(1, MANY + 1))
    asyncio.run(post_all(server, context, DEFINITIONS, bodies, 8))
    yield Figure("custom: definitions made", MANY / (time.monotonic() - started), "/s")
    _wait_until_established(server, f"things{MANY}.{GROUP}")
    each = (resident_megabytes(server.pid) - before) / MANY * 1e3
    yield Figure("custom: memory of a definition", each, "KB", "<= 100")
    yield Figure(
        "custom: discovery with 1000 definitions", _discovery_seconds(server) * 1e3, "ms", "<= 50"
    )


def _discovery_seconds(server: Server) -> float:
    """Return how long the discovery document takes after a change."""
    asyncio.run(
        post_all(
            server, administrator(server.kubeconfig), DEFINITIONS, iter([definition(MANY + 1)]), 1
        )
    )
    time.sleep(0.2)  # until it is established
    pair = server.kubeconfig.with_name("client.pem")
    line = ["curl", "-sk", "-o", "/dev/null", "-w", "%{time_starttransfer} %{time_appconnect}"]
    line += ["--cert", str(pair), "-H", f"Accept: {DISCOVERY}"]
    answer = subprocess.run(
        [*line, f"https://127.0.0.1:{server.port}/apis"], capture_output=True, text=True, check=True
    )
    total, connected = map(float, answer.stdout.split())
    return total - connected
