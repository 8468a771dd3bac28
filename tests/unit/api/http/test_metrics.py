"""What is counted, and under which labels."""

import pytest
from fakes.server import Server

from kubelite.api.auth.caller import Attributes
from kubelite.api.http import metrics
from kubelite.metrics import REGISTRY

PODS = Attributes(verb="get", version="v1", resource="pods", namespace="a", name="x")


def test_a_request_is_counted_under_kubernetes_labels() -> None:
    metrics.observe(PODS, 200, 0.01, served=True)
    line = (
        'apiserver_request_total{verb="GET",dry_run="",group="",version="v1",resource="pods",'
        'subresource="",scope="resource",component="apiserver",code="200"}'
    )
    assert line in REGISTRY.exposition()


def test_callers_cannot_make_labels_up() -> None:
    unknown = Attributes(verb="x" * 40, group="made.up", version="v9", resource="wishes")
    metrics.observe(unknown, 404, None, served=False)
    metrics.observe(Attributes(verb="get", path="/made/up"), 404, None, served=False)
    shown = REGISTRY.exposition()
    assert "wishes" not in shown
    assert "made" not in shown
    assert 'verb="other"' in shown


async def test_the_store_is_shown() -> None:
    server = Server()
    await server.create("v1/namespaces", {"metadata": {"name": "a"}})
    metrics.watch_store(server.store, server.resources)
    shown = REGISTRY.exposition()
    assert f"kubelite_store_revision {server.store.revision}\n" in shown
    assert 'apiserver_storage_objects{resource="namespaces"} 1\n' in shown
    assert 'apiserver_storage_objects{resource="deployments.apps"} 0\n' in shown
    assert 'apiserver_resource_objects{group="apps",resource="deployments"} 0\n' in shown
    assert 'apiserver_storage_size_bytes{storage_cluster_id="kubelite"} 0\n' in shown
    assert 'etcd_db_total_size_in_bytes{endpoint="kubelite"} 0\n' in shown


@pytest.mark.parametrize(
    ("verb", "subresource", "is_apply", "counted"),
    [
        ("get", "", False, "GET"),
        ("head", "", False, "GET"),
        ("list", "", False, "LIST"),
        ("watch", "", False, "WATCH"),
        ("create", "", False, "POST"),
        ("update", "status", False, "PUT"),
        ("patch", "", False, "PATCH"),
        ("patch", "", True, "APPLY"),
        ("delete", "", False, "DELETE"),
        ("deletecollection", "", False, "DELETE"),
        ("create", "exec", False, "CONNECT"),
        ("get", "log", False, "CONNECT"),
        ("made-up", "", False, "other"),
    ],
)
def test_verbs_are_those_of_upstream(
    verb: str, subresource: str, is_apply: bool, counted: str
) -> None:
    attributes = Attributes(verb=verb, resource="pods", subresource=subresource)
    assert metrics.verb_of(attributes, is_apply=is_apply) == counted


@pytest.mark.parametrize(
    ("values", "counted"),
    [((), ""), (("All",), "All"), (("All", "All"), "All"), (("x",), "invalid"), (("",), "invalid")],
)
def test_callers_cannot_make_dry_runs_up(values: tuple[str, ...], counted: str) -> None:
    assert metrics.dry_run_of(values) == counted


def test_a_creation_is_about_one_object() -> None:
    created = Attributes(verb="create", version="v1", resource="pods", namespace="a")
    assert metrics.scope_of(created) == "resource"


def test_the_service_level_indicator_leaves_out_the_wait_for_a_seat_and_trials() -> None:
    attributes = Attributes(
        verb="get", version="v1", resource="podtemplates", namespace="a", name="x"
    )
    metrics.observe(attributes, 200, 3.0, served=True, queued_seconds=2.5)
    metrics.observe(attributes, 200, 3.0, served=True, dry_run="All")
    labels = (
        '{verb="GET",group="",version="v1",resource="podtemplates",subresource="",scope="resource",'
    )
    shown = REGISTRY.exposition()
    named = f"apiserver_request_sli_duration_seconds_sum{labels}"
    assert f'{named}component="apiserver"}} 0.5\n' in shown
    buckets = f"apiserver_request_sli_duration_seconds_bucket{labels}"
    assert f'{buckets}component="apiserver",le="0.05"}} 0\n' in shown
    assert f'{buckets}component="apiserver",le="1"}} 1\n' in shown
