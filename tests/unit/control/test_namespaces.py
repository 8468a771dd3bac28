from fakes.harness import Harness
from fakes.static_resources import StaticResources

from kubelite.api.errors import APIError, InternalError
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.namespaces import Namespace, NamespaceSpec
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control import conditions
from kubelite.control.namespace import NamespaceController
from kubelite.control.options import Options, Resource
from kubelite.control.root_ca import RootCAPublisher
from kubelite.control.serviceaccount import ServiceAccountController

PODS = Resource("", "v1", "pods", "Pod", True)
EVENTS = Resource("", "v1", "events", "Event", True)
MAPS = Resource("", "v1", "configmaps", "ConfigMap", True)


async def test_content_goes_pods_first_and_then_the_namespace() -> None:
    options = Options(resources=StaticResources((MAPS, PODS)))
    harness = Harness(NamespaceController, options=options)
    client = harness.client
    client.dynamic = {("", "v1", "pods"): Pod, ("", "v1", "configmaps"): ConfigMap}
    await client.create(
        Namespace(
            metadata=ObjectMeta(name="work", finalizers=["hold"]),
            spec=NamespaceSpec(finalizers=["kubernetes"]),
        )
    )
    await client.create(
        Pod(metadata=ObjectMeta(name="p", namespace="work"), spec=PodSpec(nodeName="n"))
    )
    await client.create(ConfigMap(metadata=ObjectMeta(name="kept", namespace="other")))
    await client.create(
        ConfigMap(metadata=ObjectMeta(name="held", namespace="work", finalizers=["x/y"]))
    )
    async with harness:
        await client.delete(Namespace, "work")
        await harness.settle()
        assert [one.metadata.deletionTimestamp is None for one in client.all(ConfigMap)] == [
            True,
            True,
        ]
        (current,) = client.all(Namespace)
        remaining = conditions.find(current.status.conditions, "NamespaceContentRemaining")
        assert remaining is not None
        assert remaining.status == "True"
        assert "pods. has 1 resource instances" in remaining.message
        await client.delete(Pod, "p", "work", grace_seconds=0)
        await harness.settle()
        held = await client.get(ConfigMap, "held", "work")
        assert held.metadata.deletionTimestamp
        (current,) = client.all(Namespace)
        holders = conditions.find(current.status.conditions, "NamespaceFinalizersRemaining")
        assert holders is not None
        assert "x/y in 1 resource instances" in holders.message
        await client.patch(ConfigMap, "held", {"metadata": {"finalizers": None}}, "work")
        await harness.settle()
        (current,) = client.all(Namespace)
        assert current.spec.finalizers == []
        assert [one.metadata.name for one in client.all(ConfigMap)] == ["kept"]


async def test_events_end_with_their_namespace() -> None:
    options = Options(resources=StaticResources((MAPS, EVENTS)))
    harness = Harness(NamespaceController, options=options)
    client = harness.client
    client.dynamic = {("", "v1", "configmaps"): ConfigMap}
    for place in ("work", "other"):
        for name in ("a", "b"):
            await client.create(Event(metadata=ObjectMeta(name=name, namespace=place)))
    await client.create(
        Namespace(metadata=ObjectMeta(name="work"), spec=NamespaceSpec(finalizers=["kubernetes"]))
    )
    refused = [True]

    def refuse(verb: str, kind: str) -> APIError | None:
        return InternalError("not now") if (verb, kind) == ("delete", "Event") and refused else None

    client.refuse = refuse
    async with harness:
        await client.patch(Namespace, "work", {"metadata": {"finalizers": ["hold/on"]}})
        await client.delete(Namespace, "work")
        await harness.settle()
        (current,) = client.all(Namespace)
        assert current.spec.finalizers == ["kubernetes"]  # kept by events that cannot be deleted
        refused.clear()
        await client.patch(Namespace, "work", {"metadata": {"labels": {"again": "now"}}})
        await harness.settle()
        (current,) = client.all(Namespace)
        assert current.spec.finalizers == []
    assert [one.metadata.namespace for one in client.all(Event)] == ["other", "other"]


async def test_every_namespace_gets_its_account_and_the_authority() -> None:
    options = Options(cluster_ca="PEM")
    async with Harness(ServiceAccountController, RootCAPublisher, options=options) as harness:
        client = harness.client
        await client.create(Namespace(metadata=ObjectMeta(name="work")))
        await harness.settle()
        assert (await client.get(ServiceAccount, "default", "work")).metadata.uid
        assert (await client.get(ConfigMap, "kube-root-ca.crt", "work")).data == {"ca.crt": "PEM"}
        await client.delete(ServiceAccount, "default", "work")
        await client.patch(ConfigMap, "kube-root-ca.crt", {"data": {"ca.crt": "bad"}}, "work")
        await harness.settle()
        assert (await client.get(ServiceAccount, "default", "work")).metadata.uid
        assert (await client.get(ConfigMap, "kube-root-ca.crt", "work")).data == {"ca.crt": "PEM"}
