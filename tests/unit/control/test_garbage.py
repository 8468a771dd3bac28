import pytest
from fakes.harness import Harness
from fakes.static_resources import StaticResources
from msgspec.structs import replace

from kubelite.api.kinds.apps import Deployment, ReplicaSet
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.control.garbage import GarbageCollector, plan
from kubelite.control.options import Options, Resource
from kubelite.control.ownership_graph import Graph, Member, Owners
from kubelite.limits import IDLE_TURNS

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


async def circle(harness: Harness, length: int) -> list[ConfigMap]:
    """Make config maps of which each owns, and blocks, the next, and the last the first."""
    client = harness.client
    made = [await client.create(ConfigMap(metadata=meta(f"c{number}"))) for number in range(length)]
    for number, one in enumerate(made):
        owned = replace(one.metadata, ownerReferences=[owned_by(made[number - 1])])
        await client.update(replace(one, metadata=owned))
    await harness.settle()
    return made


@pytest.mark.parametrize("length", [1, 2, 3, 7])
async def test_a_circle_of_owners_goes_when_one_is_deleted_in_the_foreground(length: int) -> None:
    async with cluster() as harness:
        await circle(harness, length)
        before = IDLE_TURNS.times_reached
        await harness.client.delete(ConfigMap, "c0", "default", propagation="Foreground")
        await harness.settle()
        assert harness.client.all(ConfigMap) == []
        assert IDLE_TURNS.times_reached == before


async def test_a_circle_of_owners_goes_when_all_are_deleted_in_the_foreground() -> None:
    async with cluster() as harness:
        for one in await circle(harness, 4):
            await harness.client.delete(
                ConfigMap, one.metadata.name, "default", propagation="Foreground"
            )
        await harness.settle()
        assert harness.client.all(ConfigMap) == []


async def test_an_owner_that_waits_for_a_finalizer_below_it_takes_no_turns() -> None:
    async with cluster() as harness:
        client = harness.client
        owner = await client.create(ConfigMap(metadata=meta("owner")))
        held = replace(meta("held", owned_by(owner)), finalizers=["example.com/hold"])
        await client.create(ConfigMap(metadata=held))
        await harness.settle()
        await client.delete(ConfigMap, "owner", "default", propagation="Foreground")
        await harness.settle()
        assert {one.metadata.name for one in client.all(ConfigMap)} == {"owner", "held"}
        assert harness.runtime.idle
        await client.patch(ConfigMap, "held", {"metadata": {"finalizers": []}}, "default")
        await harness.settle()
        assert client.all(ConfigMap) == []


@pytest.mark.parametrize("first", ["owner", "dependent"])
async def test_an_owner_in_another_namespace_is_absent_and_an_event_says_so(first: str) -> None:
    async with cluster() as harness:
        client = harness.client
        far = ConfigMap(metadata=ObjectMeta(name="far", namespace="other", uid="far-uid"))
        reference = OwnerReference(apiVersion="v1", kind="ConfigMap", name="far", uid="far-uid")
        near = ConfigMap(metadata=meta("near", reference))
        if first == "owner":
            reference = owned_by(await client.create(far))
            near = ConfigMap(metadata=meta("near", reference))
        await client.create(near)
        await harness.settle()
        left = {(one.metadata.namespace, one.metadata.name) for one in client.all(ConfigMap)}
        assert ("default", "near") not in left
        if first == "owner":
            (event,) = client.all(Event)
            assert event.reason == "OwnerRefInvalidNamespace"
            assert event.message == (
                f"ownerRef [v1/ConfigMap, namespace: default, name: far, uid: {reference.uid}] "
                'does not exist in namespace "default"'
            )


@pytest.mark.parametrize(
    "wrong", [{"name": "other"}, {"kind": "Pod"}, {"apiVersion": "apps/v1", "kind": "Deployment"}]
)
async def test_an_owner_of_another_name_or_kind_under_the_same_uid_is_absent(
    wrong: dict[str, str],
) -> None:
    async with cluster() as harness:
        owner = await harness.client.create(ConfigMap(metadata=meta("owner")))
        await harness.client.create(
            ConfigMap(metadata=meta("dependent", replace(owned_by(owner), **wrong)))
        )
        await harness.settle()
        assert [one.metadata.name for one in harness.client.all(ConfigMap)] == ["owner"]


def test_the_graph_knows_blockers_without_reading_what_dependents_name() -> None:
    graph = Graph()
    owner = OwnerReference(apiVersion="v1", kind="ConfigMap", name="o", uid="o")
    blocking = replace(owner, blockOwnerDeletion=True)
    for name, references in (("a", [owner]), ("b", [owner, blocking]), ("c", [blocking])):
        graph.put(Member(RESOURCES[3], ObjectMeta(name=name, uid=name, ownerReferences=references)))
    assert graph.is_blocked("o")
    graph.put(Member(RESOURCES[3], ObjectMeta(name="b", uid="b", ownerReferences=[owner])))
    assert graph.is_blocked("o")
    graph.remove("c")
    assert not graph.is_blocked("o")
    assert graph.has_dependents("o")
    graph.remove("a")
    graph.remove("b")
    assert not graph.has_dependents("o")
