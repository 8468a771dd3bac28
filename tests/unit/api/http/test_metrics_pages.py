"""/metrics and /metrics/slis as they are served."""

import aiohttp
import pytest
from fakes.recorded_offload import RecordedOffload
from fakes.server import Server
from fakes.serving import parts_of, serving
from prometheus_client.parser import text_string_to_metric_families

from kubelite.api.http import metrics as api_metrics
from kubelite.api.http.pages import GIT_VERSION
from kubelite.limits import INLINE_WORK
from kubelite.metrics import Registry, exposition, exposition_cost
from kubelite.workqueue import WorkQueue

# What dashboards and alerts of Kubernetes read, by type.
READ = {
    "process_cpu_seconds": "counter",
    "process_resident_memory_bytes": "gauge",
    "process_virtual_memory_bytes": "gauge",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
    "process_start_time_seconds": "gauge",
    "workqueue_depth": "gauge",
    "workqueue_adds": "counter",
    "workqueue_queue_duration_seconds": "histogram",
    "workqueue_work_duration_seconds": "histogram",
    "workqueue_retries": "counter",
    "workqueue_unfinished_work_seconds": "gauge",
    "workqueue_longest_running_processor_seconds": "gauge",
    "rest_client_requests": "counter",
    "apiserver_storage_objects": "gauge",
    "apiserver_storage_size_bytes": "gauge",
    "etcd_db_total_size_in_bytes": "gauge",
    "apiserver_request": "counter",
    "apiserver_request_duration_seconds": "histogram",
    "apiserver_request_sli_duration_seconds": "histogram",
    "apiserver_longrunning_requests": "gauge",
    "apiserver_current_inflight_requests": "gauge",
    "kubernetes_build_info": "gauge",
}


async def text_of(path: str, server: Server) -> str:
    async with (
        serving(parts_of(server.verbs)) as (_, port),
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"http://127.0.0.1:{port}/readyz") as ready:
            assert ready.status == 200
        plain = {"Accept-Encoding": "identity"}
        async with session.get(f"http://127.0.0.1:{port}{path}", headers=plain) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            return await answer.text()


async def test_what_dashboards_read() -> None:
    server = Server()
    queue: WorkQueue[str] = WorkQueue(name="dashboards")
    queue.add("a")
    api_metrics.watch_store(server.store, server.resources)
    text = await text_of("/metrics", server)
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert {name: found[name].type for name in READ} == READ
    (build,) = found["kubernetes_build_info"].samples
    assert (build.value, build.labels["git_version"]) == (1, GIT_VERSION)
    assert set(build.labels) == {
        *("major", "minor", "git_version", "git_commit", "git_tree_state", "build_date"),
        *("go_version", "compiler", "platform"),
    }


async def test_service_level_indicators() -> None:
    text = await text_of("/metrics/slis", Server())
    names = {family.name for family in text_string_to_metric_families(text)}
    assert names == {
        "kubernetes_healthcheck",
        "kubernetes_healthchecks",
        "process_start_time_seconds",
    }
    assert 'kubernetes_healthcheck{name="ping",type="readyz"} 1' in text


async def test_a_large_registry_is_written_off_the_loop() -> None:
    offload = RecordedOffload()
    server = Server()
    server.verbs.offload = offload
    await text_of("/metrics", server)
    assert len(offload.costs) == 1
    registry = Registry()
    histogram = registry.histogram("took_seconds", "How long.", ("what",))
    for number in range(10_000):
        histogram.labelled(str(number))
    samples = [metric.sample() for metric in registry.metrics()]
    assert exposition_cost(samples) > INLINE_WORK.value


@pytest.mark.parametrize("kind", ["counter", "histogram"])
def test_what_is_counted_while_a_sample_is_written_does_not_show(kind: str) -> None:
    registry = Registry()
    if kind == "counter":
        counter = registry.counter("events_total", "Events.", ("of",))
        counter.labelled("a").increase()
        samples = [metric.sample() for metric in registry.metrics()]
        counter.labelled("a").increase()
        counter.labelled("b").increase()
    else:
        histogram = registry.histogram("events_total", "Events.", ("of",))
        histogram.labelled("a").observe(1)
        samples = [metric.sample() for metric in registry.metrics()]
        histogram.labelled("a").observe(1)
        histogram.labelled("b").observe(1)
    text = exposition(samples)
    assert 'of="b"' not in text
    assert "} 2" not in text
