from typing import Any

import pytest
from msgspec import convert

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.registry.admission.namespace_lifecycle import NamespaceLifecycle
from kubelite.api.registry.admission.request import Verb


def namespace(name: str, phase: str = "Active") -> Namespace:
    return convert({"metadata": {"name": name}, "status": {"phase": phase}}, Namespace)


PLUGIN = NamespaceLifecycle(FixedLookup([namespace("shop"), namespace("going", "Terminating")]))
POD = {"metadata": {"name": "p"}}


async def test_creation(ask: Any) -> None:
    assert (await ask(PLUGIN, "pods", POD)).item
    assert (await ask(PLUGIN, "nodes", POD)).item
    gone = await ask(PLUGIN, "pods", POD, namespace="gone")
    assert gone.refusal == 'namespaces "gone" not found'
    assert gone.error.code == 404
    going = await ask(PLUGIN, "pods", POD, namespace="going")
    assert going.refusal == (
        'pods "p" is forbidden: unable to create new content in namespace going because it is being terminated'
    )
    assert going.error.causes[0].reason == "NamespaceTerminating"


async def test_other_writes_in_a_namespace_that_goes_away(ask: Any) -> None:
    assert (await ask(PLUGIN, "pods", POD, old=POD, namespace="going")).item
    assert (await ask(PLUGIN, "pods", old=POD, namespace="going")).error is None


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_stay(ask: Any, name: str) -> None:
    refused = await ask(PLUGIN, "namespaces", old={"metadata": {"name": name}})
    assert refused.refusal == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    assert (await ask(PLUGIN, "namespaces", old={"metadata": {"name": "shop"}})).error is None
    assert (await ask(PLUGIN, "namespaces", {"metadata": {"name": "new"}}, verb=Verb.CREATE)).item
