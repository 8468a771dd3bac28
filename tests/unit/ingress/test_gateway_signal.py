"""Nodes learn of the Gateway API by one definition, and follow nothing of what is served before."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.ingress.gateway_signal import DEFINITION, DEFINITIONS, GatewaySignal
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine

SHAPE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(group: str, plural: str, kind: str) -> dict[str, Any]:
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SHAPE}}
    approved = {"api-approved.kubernetes.io": "https://example.com"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": approved},
        "spec": {"group": group, "scope": "Cluster", "names": names, "versions": [version]},
    }


async def settled(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_one_definition_is_followed_and_no_other() -> None:
    clock = SetClock(datetime(2026, 9, 1, tzinfo=UTC))
    plane = ControlPlane(
        EmbeddedStore(MemoryEngine(), clock=clock),
        clock=clock,
        randomness=SeededRandomness(1),
        signing_keys=[new_key()],
        certificates=ClientCertificates([], clock),
        config=Config(),
    )
    await plane.bootstrap("192.0.2.1", 6443)
    client = plane.client(Caller("system:kube-proxy", ("system:authenticated",)), "kube-proxy")
    root = plane.client(Caller("root", ("system:masters",)), "test")
    before = len(plane.mirrors.served._listeners)
    changes: list[int] = []
    signal = GatewaySignal(client, lambda: changes.append(1))
    await signal.synced()
    assert signal.objects is None
    definitions = root.resource(*DEFINITIONS)
    await definitions.create(definition("example.com", "buckets", "Bucket"))
    await asyncio.sleep(0)
    assert (signal.objects, changes) == (None, [])
    assert len(plane.mirrors.served._listeners) == before
    await definitions.create(
        definition("gateway.networking.k8s.io", "gatewayclasses", "GatewayClass")
    )
    await settled(lambda: signal.objects is not None)
    assert changes
    await definitions.delete(DEFINITION)  # which its objects' clean-up would finish
    await definitions.patch(DEFINITION, {"metadata": {"finalizers": None}})
    await settled(lambda: signal.objects is None)
    assert len(plane.mirrors.served._listeners) == before
    signal.close()
