"""What is counted, and under which labels."""

from fakes.server import Server

from kubelite.api.auth.caller import Attributes
from kubelite.api.http import metrics
from kubelite.metrics import REGISTRY

PODS = Attributes(verb="get", version="v1", resource="pods", namespace="a", name="x")


def test_a_request_is_counted_under_kubernetes_labels() -> None:
    metrics.observe(PODS, 200, 0.01, served=True)
    line = (
        'apiserver_request_total{verb="GET",group="",version="v1",resource="pods",subresource="",'
        'scope="resource",component="apiserver",code="200"}'
    )
    assert line in REGISTRY.exposition()


def test_callers_cannot_make_labels_up() -> None:
    unknown = Attributes(verb="x" * 40, group="made.up", version="v9", resource="wishes")
    metrics.observe(unknown, 404, None, served=False)
    metrics.observe(Attributes(verb="get", path="/made/up"), 404, None, served=False)
    shown = REGISTRY.exposition()
    assert "wishes" not in shown
    assert "made" not in shown
    assert 'verb="OTHER"' in shown


async def test_the_store_is_shown() -> None:
    server = Server()
    await server.create("v1/namespaces", {"metadata": {"name": "a"}})
    metrics.watch_store(server.store)
    assert f"kubelite_store_revision {server.store.revision}" in REGISTRY.exposition()
