from fakes.harness import Harness

from kubelite.api.kinds.apps import Deployment, ReplicaSet
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.control.garbage import GarbageCollector, plan
from kubelite.control.options import Options, Resource, StaticResources
from kubelite.control.ownership_graph import Member, Owners

RESOURCES = (
    Resource("apps", "v1", "deployments", "Deployment", True),
    Resource("apps", "v1", "replicasets", "ReplicaSet", True),
    Resource("", "v1", "pods", "Pod", True),
    Resource("", "v1", "configmaps", "ConfigMap", True),
    Resource("", "v1", "nodes", "Node", False),
)


def cluster() -> Harness:
    harness = Harness(GarbageCollector, options=Options(resources=StaticResources(RESOURCES)))
    harness.client.dynamic = {
        ("apps", "v1", "deployments"): Deployment,
        ("apps", "v1", "replicasets"): ReplicaSet,
        ("", "v1", "pods"): Pod,
        ("", "v1", "configmaps"): ConfigMap,
        ("", "v1", "nodes"): Node,
    }
    return harness


def owned_by(item: Deployment | ReplicaSet | ConfigMap, *, block: bool = True) -> OwnerReference:
    return OwnerReference(
        apiVersion=item.gvk.api_version,
        kind=item.gvk.kind,
        name=item.metadata.name,
        uid=item.metadata.uid,
        controller=True,
        blockOwnerDeletion=block,
    )


def meta(name: str, *owners: OwnerReference) -> ObjectMeta:
    return ObjectMeta(name=name, namespace="default", ownerReferences=list(owners))


async def family(harness: Harness) -> None:
    client = harness.client
    deployment = await client.create(Deployment(metadata=meta("d")))
    one = await client.create(ReplicaSet(metadata=meta("r", owned_by(deployment))))
    await client.create(Pod(metadata=meta("p", owned_by(one))))
    await harness.settle()


async def test_background_deletion_takes_the_whole_family() -> None:
    async with cluster() as harness:
        await family(harness)
        await harness.client.delete(Deployment, "d", "default", propagation="Background")
        await harness.settle()
        assert harness.client.all(ReplicaSet) == []
        assert harness.client.all(Pod) == []


async def test_foreground_deletion_goes_from_the_leaves() -> None:
    async with cluster() as harness:
        await family(harness)
        harness.client.writes.clear()
        await harness.client.delete(Deployment, "d", "default", propagation="Foreground")
        await harness.settle()
        assert harness.client.all(Deployment) == []
        assert harness.client.all(ReplicaSet) == []
        assert harness.client.all(Pod) == []
        kinds = [kind for verb, kind, _ in harness.client.writes if verb == "delete"]
        assert kinds == ["Deployment", "ReplicaSet", "Pod"]


async def test_orphans_stay_and_name_no_owner() -> None:
    async with cluster() as harness:
        await family(harness)
        await harness.client.delete(Deployment, "d", "default", propagation="Orphan")
        await harness.settle()
        assert harness.client.all(Deployment) == []
        (left,) = harness.client.all(ReplicaSet)
        assert left.metadata.ownerReferences == []
        assert len(harness.client.all(Pod)) == 1


async def test_an_owner_that_never_was_and_one_of_another_uid_are_absent() -> None:
    async with cluster() as harness:
        client = harness.client
        owner = await client.create(ConfigMap(metadata=meta("owner")))
        ghost = OwnerReference(apiVersion="v1", kind="ConfigMap", name="ghost", uid="x")
        stale = OwnerReference(apiVersion="v1", kind="ConfigMap", name="owner", uid="y")
        unknown = OwnerReference(apiVersion="example.com/v1", kind="Widget", name="w", uid="z")
        await client.create(ConfigMap(metadata=meta("a", ghost)))
        await client.create(ConfigMap(metadata=meta("b", stale)))
        await client.create(ConfigMap(metadata=meta("c", unknown)))
        await client.create(ConfigMap(metadata=meta("d", ghost, owned_by(owner))))
        await harness.settle()
        left = {one.metadata.name: one for one in client.all(ConfigMap)}
        assert set(left) == {"owner", "c", "d"}
        assert [ref.name for ref in left["d"].metadata.ownerReferences] == ["owner"]


async def test_an_object_outside_of_namespaces_with_an_owner_in_one_is_left_alone() -> None:
    async with cluster() as harness:
        ghost = OwnerReference(apiVersion="v1", kind="ConfigMap", name="ghost", uid="x")
        await harness.client.create(Node(metadata=ObjectMeta(name="n", ownerReferences=[ghost])))
        await harness.settle()
        assert [one.metadata.name for one in harness.client.all(Node)] == ["n"]


def test_an_object_with_a_living_owner_only_drops_the_others() -> None:
    member = Member(RESOURCES[2], meta("p"))
    alive = OwnerReference(apiVersion="v1", kind="ConfigMap", name="a", uid="a")
    dead = OwnerReference(apiVersion="v1", kind="ConfigMap", name="b", uid="b")
    assert plan(member, Owners(solid=[alive], dangling=[dead]), []).drop == ("b",)
    assert plan(member, Owners(dangling=[dead]), []).delete == "Background"
    assert plan(member, Owners(waiting=[dead]), [member]).delete == "Foreground"
    assert plan(member, Owners(), []).delete == ""
