"""Reads of resources that another server answers for, by clients inside the process."""

import pytest
from fakes.metrics import FakeMetrics
from fakes.server import ADMIN, Server

from kubelite.api.auth.caller import Allowed, Attributes, Caller
from kubelite.api.client.elsewhere import delegated_path, items_of
from kubelite.api.client.local import LocalClient
from kubelite.api.errors import Forbidden, InternalError, NotFound

BASE = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default"


class Recording:
    """Allows what it is told, and records what is asked."""

    def __init__(self, *, allows: bool = True) -> None:
        self.allows = allows
        self.asked: list[Attributes] = []

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        self.asked.append(attributes)
        if not self.allows:
            raise Forbidden("no")
        return Allowed(caller, attributes, "test")


def client(metrics: FakeMetrics, authorizer: Recording) -> LocalClient:
    server = Server()
    return LocalClient(server.verbs, authorizer, ADMIN, server.mirrors, delegated=metrics)


async def test_gets_and_lists_reach_the_other_server() -> None:
    metrics, authorizer = FakeMetrics(), Recording()
    metrics.pages[f"{BASE}/pods/*/qps"] = {"items": [{"value": "1"}]}
    metrics.pages[f"{BASE}/pods"] = {"items": [{"a": 1}, {"b": 2}]}
    pods = client(metrics, authorizer).resource("custom.metrics.k8s.io", "v1beta2", "pods")
    parameters = {"labelSelector": "app=web"}
    found = await pods.get("*", "default", subresource="qps", parameters=parameters)
    assert found == {"items": [{"value": "1"}]}
    assert await pods.list("default", label_selector="x in (a,b)") == [{"a": 1}, {"b": 2}]
    assert [path for _, path in metrics.asked] == [
        f"{BASE}/pods/%2A/qps?labelSelector=app%3Dweb",
        f"{BASE}/pods?labelSelector=x+in+%28a%2Cb%29",
    ]
    first, second = authorizer.asked
    assert (first.verb, first.resource, first.subresource, first.name) == (
        "get",
        "pods",
        "qps",
        "*",
    )
    assert (second.verb, second.namespace, second.label_selector) == (
        "list",
        "default",
        "x in (a,b)",
    )


async def test_nothing_is_read_without_the_right() -> None:
    metrics = FakeMetrics()
    pods = client(metrics, Recording(allows=False)).resource("metrics.k8s.io", "v1beta1", "pods")
    with pytest.raises(Forbidden):
        await pods.list("default")
    assert metrics.asked == []


@pytest.mark.parametrize("name", ["..", ".", "a/b", "%2e%2e"])
async def test_no_name_leads_to_another_path(name: str) -> None:
    metrics = FakeMetrics()
    made = client(metrics, Recording())
    with pytest.raises(NotFound):
        await made.resource("external.metrics.k8s.io", "v1beta1", name).list("default")
    pods = made.resource("custom.metrics.k8s.io", "v1beta2", "pods")
    with pytest.raises(NotFound):
        await pods.get("*", "default", subresource=name)
    assert metrics.asked == []


async def test_a_group_that_nobody_serves_is_not_found() -> None:
    metrics = FakeMetrics()
    metrics.groups.clear()
    pods = client(metrics, Recording()).resource("metrics.k8s.io", "v1beta1", "pods")
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        await pods.list("default")


def test_paths_and_items() -> None:
    attributes = Attributes(
        verb="get", group="g", version="v1", resource="things", namespace="n", name="a b"
    )
    assert delegated_path(attributes, {}) == "/apis/g/v1/namespaces/n/things/a%20b"
    assert items_of(b'{"items":null}') == ()
    for body in (b"[]", b"", b'{"items":1}', b"<html>"):
        with pytest.raises(InternalError):
            items_of(body)
