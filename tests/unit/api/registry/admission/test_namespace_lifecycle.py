from collections.abc import Sequence
from typing import Any

import pytest
from fakes.rows import row_of
from fakes.server import Server
from msgspec import convert, json

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.errors import Forbidden
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.registry.admission.namespace_lifecycle import NamespaceLifecycle
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.options import DeletionOptions
from kubelite.store.protocol import Change, Check


def namespace(name: str, phase: str = "Active") -> Namespace:
    metadata = {"name": name, "resourceVersion": "7"}
    return convert({"metadata": metadata, "status": {"phase": phase}}, Namespace)


PLUGIN = NamespaceLifecycle(
    FixedLookup([namespace("shop"), namespace("going", "Terminating")]), row_of("", "Namespace")
)
POD = {"metadata": {"name": "p"}}


async def test_creation(ask: Any) -> None:
    made = await ask(PLUGIN, "pods", POD)
    assert made.item
    assert made.request.checks == [Check("/namespaces.core/shop", 7)]
    assert (await ask(PLUGIN, "nodes", POD)).item
    gone = await ask(PLUGIN, "pods", POD, namespace="gone")
    assert gone.refusal == 'namespaces "gone" not found'
    assert gone.error.code == 404
    going = await ask(PLUGIN, "pods", POD, namespace="going")
    assert going.refusal == (
        'pods "p" is forbidden: unable to create new content in namespace going because it is being terminated'
    )
    assert going.error.causes[0].reason == "NamespaceTerminating"


class Slow:
    """Lets a namespace go while a write waits."""

    name = "Priority"  # in whose place it stands

    def __init__(self) -> None:
        self.server: Server | None = None

    async def mutate(self, request: AdmissionRequest) -> None:
        if self.server is not None and request.attributes.resource == "configmaps":
            server, self.server = self.server, None
            allowed = server.allowed("delete", "v1/namespaces", "shop")
            await server.verbs.delete(allowed, DeletionOptions())


async def test_a_namespace_that_goes_while_a_write_waits() -> None:
    lookup, slow = FixedLookup(), Slow()
    server = Server(NamespaceLifecycle(lookup, row_of("", "Namespace")), slow)

    def seen(changes: Sequence[Change]) -> None:
        for change in changes:
            lookup.put(json.decode(change.value, type=Namespace))

    server.store.subscribe("/namespaces.core/", seen)
    await server.create("v1/namespaces", {"metadata": {"name": "shop"}})
    slow.server = server
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await server.create("v1/configmaps", {"metadata": {"name": "a", "namespace": "shop"}})
    assert server.names("v1/configmaps", "shop") == []


async def test_other_writes_in_a_namespace_that_goes_away(ask: Any) -> None:
    assert (await ask(PLUGIN, "pods", POD, old=POD, namespace="going")).item
    assert (await ask(PLUGIN, "pods", old=POD, namespace="going")).error is None


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_stay(ask: Any, name: str) -> None:
    refused = await ask(PLUGIN, "namespaces", old={"metadata": {"name": name}})
    assert refused.refusal == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    assert (await ask(PLUGIN, "namespaces", old={"metadata": {"name": "shop"}})).error is None
    assert (await ask(PLUGIN, "namespaces", {"metadata": {"name": "new"}}, verb=Verb.CREATE)).item
