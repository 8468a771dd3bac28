"""A real server over TLS: start, rest, reads, writes, watches, many objects."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop
from testbed.hosts import Server

from bench.clients import Watcher, administrator, loop_lag, post_all
from bench.processes import cpu_seconds, cpu_share, resident_megabytes
from bench.report import Figure
from bench.wrk import free_port, wrk

READERS = 32
REST_SECONDS = 60
WATCHERS = 1000
WRITERS = 4
EVENTS = 500
MANY = 100_000
CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"

CREATE = """
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function init() count = 0 end
function request()
  count = count + 1
  local name = string.format("PREFIX-%d-%d", number, count)
  local data = string.rep("x", 300)
  return wrk.format("POST", nil, nil, '{"metadata":{"name":"' .. name .. '"},"data":{"a":"' .. data .. '"}}')
end
"""


def measure(folder: Path) -> Iterator[Figure]:
    """Start a control plane and load it from other processes."""
    port = free_port()
    starts = [_start_seconds(folder / f"start-{number}", port) for number in range(3)]
    yield Figure("api: process start to ready, control plane, empty", sorted(starts)[1], "s", "< 1")
    server = Server(None, folder, "--disable-agent", port=port)
    server.start()
    try:
        pid = server.pid
        time.sleep(3)
        yield Figure(
            f"api: CPU at rest over {REST_SECONDS} s",
            cpu_share(pid, REST_SECONDS),
            "% of a core",
            "< 1",
        )
        yield Figure("api: resident memory at rest", resident_megabytes(pid), "MB", "< 130")
        yield from _requests(server, folder)
        yield from uvloop.run(_watches(server))
        before = resident_megabytes(pid)
        uvloop.run(_fill(server))
        filled = resident_megabytes(pid)
        yield Figure(f"api: resident memory, {MANY} objects", filled, "MB", "< 1000")
        object_bytes = len(
            server.kubectl("get", "--raw", CONFIG_MAPS.format("default") + "/many-1")
        )
        beyond_bytes = (filled - before) * 1e6 / MANY - object_bytes
        yield Figure("api: memory of an object beyond its bytes", beyond_bytes, "B", "< 3000")
        yield loop_lag(server, "api")
        server.stop()
        started = time.perf_counter()
        server.start()
        yield Figure(f"api: start with {MANY} objects", time.perf_counter() - started, "s", "< 5")
    finally:
        server.stop()


def _start_seconds(folder: Path, port: int) -> float:
    folder.mkdir()
    server = Server(None, folder, "--disable-agent", port=port)
    started = time.perf_counter()
    server.start()
    seconds = time.perf_counter() - started
    server.stop()
    return seconds


def _requests(server: Server, folder: Path) -> Iterator[Figure]:
    for namespace in ("bench", "writes", "watched"):
        server.kubectl("create", "namespace", namespace)
    items = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"bench-{number}", "namespace": "bench"},
            "data": {"a": "x" * 300},
        }
        for number in range(500)
    ]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    server.kubectl("create", "-f", "-", stdin=listed, timeout_seconds=300)
    token, path = _token(server), CONFIG_MAPS.format("bench")
    load = wrk(server, token, f"{path}/bench-7", READERS)
    rate, p99 = load.rate, load.p99_ms
    yield Figure(f"api: GET, {READERS} clients", rate, "/s", ">= 6000")
    yield Figure(f"api: GET, {READERS} clients, p99", p99, "ms")
    yield Figure("api: LIST of 500, 4 clients", wrk(server, token, path, 4).rate, "/s", ">= 900")
    script = folder / "create.lua"
    for clients in (1, 64):
        script.write_text(CREATE.replace("PREFIX", f"of-{clients}"))
        load = wrk(server, token, CONFIG_MAPS.format("writes"), clients, script=script)
        rate, p50 = load.rate, load.p50_ms
        yield Figure(
            f"api: CREATE, {clients} clients", rate, "/s", ">= 2000" if clients > 1 else ""
        )
        if clients == 1:
            yield Figure("api: CREATE, 1 client, p50", p50, "ms", "<= 1.5")


async def _watches(server: Server) -> list[Figure]:
    """Open watches, create objects, and wait until every watcher heard of all."""
    context, path = administrator(server.kubeconfig), CONFIG_MAPS.format("watched")
    query = "watch=true&resourceVersion=0&labelSelector=bench%3Devents"
    watchers: list[Watcher] = []
    for _ in range(0, WATCHERS, 50):
        opening = (Watcher.open(server.port, context, f"{path}?{query}", EVENTS) for _ in range(50))
        watchers += await asyncio.gather(*opening)
    used = cpu_seconds(server.pid)
    started = time.perf_counter()
    bodies = (
        {
            "metadata": {"name": f"event-{number}", "labels": {"bench": "events"}},
            "data": {"a": "x" * 300},
        }
        for number in range(EVENTS)
    )
    await post_all(server, context, path, bodies, WRITERS)
    await asyncio.gather(*(watcher.complete for watcher in watchers))
    seconds = time.perf_counter() - started
    used = cpu_seconds(server.pid) - used
    for watcher in watchers:
        watcher.close()
    return [
        Figure(f"api: events to {WATCHERS} watchers", EVENTS / seconds, "events/s", ">= 50"),
        Figure("api: CPU of the server per delivery", used / EVENTS / WATCHERS * 1e6, "us"),
    ]


async def _fill(server: Server) -> None:
    context, path = administrator(server.kubeconfig), CONFIG_MAPS.format("default")
    bodies = (
        {"metadata": {"name": f"many-{number}"}, "data": {"a": "x" * 300}} for number in range(MANY)
    )
    await post_all(server, context, path, bodies, 64)


def _token(server: Server) -> str:
    server.kubectl("create", "serviceaccount", "bench", "-n", "kube-system")
    role = "--clusterrole=cluster-admin", "--serviceaccount=kube-system:bench"
    server.kubectl("create", "clusterrolebinding", "bench", *role)
    return server.kubectl("create", "token", "bench", "-n", "kube-system").strip()
