from typing import Any

from msgspec import convert

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.networking import IngressClass
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.registry.admission.default_classes import DefaultIngressClass, DefaultStorageClass


def storage(name: str, created: str, *, default: bool = True) -> StorageClass:
    mark = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return convert(
        {
            "metadata": {"name": name, "creationTimestamp": created, "annotations": mark},
            "provisioner": "x",
        },
        StorageClass,
    )


OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


async def test_claims_get_the_newest_default(ask: Any) -> None:
    plugin = DefaultStorageClass(
        FixedLookup(
            [
                storage("old", OLD),
                storage("b", NEW),
                storage("a", NEW),
                storage("c", NEW, default=False),
            ]
        )
    )
    path = "persistentvolumeclaims"
    assert (await ask(plugin, path, {"spec": {}})).item["spec"]["storageClassName"] == "a"
    for own in ("", "mine"):
        kept = await ask(plugin, path, {"spec": {"storageClassName": own}})
        assert kept.item["spec"]["storageClassName"] == own
    annotated = {
        "metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}},
        "spec": {},
    }
    assert (await ask(plugin, path, annotated)).item["spec"] == {}
    assert (await ask(DefaultStorageClass(FixedLookup()), path, {"spec": {}})).item["spec"] == {}


async def test_ingresses(ask: Any) -> None:
    mark = {"ingressclass.kubernetes.io/is-default-class": "true"}
    default = convert({"metadata": {"name": "web", "annotations": mark}}, IngressClass)
    plugin = DefaultIngressClass(FixedLookup([default]))
    path = "ingresses.networking.k8s.io"
    assert (await ask(plugin, path, {"spec": {}})).item["spec"]["ingressClassName"] == "web"
    annotated = {"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}, "spec": {}}
    assert (await ask(plugin, path, annotated)).item["spec"] == {}
