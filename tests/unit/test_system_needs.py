"""What the cluster cannot do without is there, comes back, and keeps no server from starting."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from kubelite import __version__
from kubelite.api.auth import bootstrap_roles
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import certificate_pem, new_authority, new_key
from kubelite.api.auth.extension_authentication import NAME, trust_of
from kubelite.api.auth.front_proxies import ProxyAuthority
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.local import LocalClient
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.endpoints import Endpoints
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.quota import ResourceQuota, ResourceQuotaSpec
from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.flowcontrol import FlowSchema, PriorityLevelConfiguration
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.networking import ServiceCIDR
from kubelite.api.kinds.rbac import ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef
from kubelite.api.kinds.scheduling import PriorityClass
from kubelite.api.kinds.storage import StorageClass
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.control.needs import Need
from kubelite.control_plane import ControlPlane
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine
from kubelite.system_needs import APIPlace, extension_need, system_needs

ROOT = Caller("root", ("system:masters",))


class Plane:
    """A control plane that can be started again over the same store."""

    def __init__(self) -> None:
        self.clock = SetClock(datetime(2026, 9, 1, tzinfo=UTC))
        self.store = EmbeddedStore(MemoryEngine(), clock=self.clock)

    async def start(
        self, address: str = "192.0.2.1", *, needs: Sequence[Need] = (), **settings: Any
    ) -> ControlPlane:
        plane = ControlPlane(
            self.store,
            clock=self.clock,
            randomness=SeededRandomness(1),
            signing_keys=[new_key()],
            certificates=ClientCertificates([], self.clock),
            config=Config(**settings),
            needs=needs,
        )
        await plane.bootstrap(address, 6443)
        return plane


def root(plane: ControlPlane) -> LocalClient:
    return plane.client(ROOT, "test")


def service(name: str, address: str = "", namespace: str = "default") -> Service:
    ports = [ServicePort(name="http", port=80, protocol="TCP")]
    spec = ServiceSpec(clusterIP=address, ports=ports)
    return Service(metadata=ObjectMeta(name=name, namespace=namespace), spec=spec)


async def again(plane: ControlPlane) -> None:
    """Reconcile all objects once more, as their controller does when they change."""
    await plane.system.ensure_all(plane.controller_client("system:apiserver"), plane.mirrors)


async def test_a_cluster_begins_with_what_every_cluster_has() -> None:
    plane = await Plane().start()
    assert plane.system.problem == ""
    client = root(plane)
    assert [one.metadata.name for one in await client.list(Namespace)] == [
        "default",
        "kube-node-lease",
        "kube-public",
        "kube-system",
    ]
    kubernetes = await client.get(Service, "kubernetes", "default")
    assert (kubernetes.spec.clusterIP, kubernetes.spec.ports[0].targetPort) == ("10.43.0.1", 6443)
    endpoints = await client.get(Endpoints, "kubernetes", "default")
    assert [one.ip for one in endpoints.subsets[0].addresses] == ["192.0.2.1"]
    assert (await client.get(Service, "kube-dns", "kube-system")).spec.clusterIP == "10.43.0.10"
    cidr = await client.get(ServiceCIDR, "kubernetes")
    assert cidr.metadata.finalizers == ["networking.k8s.io/service-cidr-finalizer"]
    for need in plane.system.needs.values():
        assert plane.mirrors.get(need.kind, need.name, need.namespace) is not None, need.key


async def test_a_second_start_and_every_look_write_nothing() -> None:
    place = Plane()
    plane = await place.start()
    before = place.store.revision
    plane.system.changed(*plane.system.needs)
    await again(plane)
    await place.start()
    assert place.store.revision == before
    # Nothing is even asked for, so that no update is made of each look.
    updates = [
        need.key
        for need in plane.system.needs.values()
        for stored in [plane.mirrors.get(need.kind, need.name, need.namespace)]
        if stored is None or need.revise(stored) != stored
    ]
    assert updates == []


DELETABLE = [
    (Service, "kubernetes", "default"),
    (Service, "kube-dns", "kube-system"),
    (Endpoints, "kubernetes", "default"),
    (EndpointSlice, "kubernetes", "default"),
    (FlowSchema, "catch-all", ""),
    (FlowSchema, "service-accounts", ""),
    (PriorityLevelConfiguration, "exempt", ""),
    (PriorityLevelConfiguration, "workload-low", ""),
    (ClusterRole, "cluster-admin", ""),
    (ClusterRoleBinding, "system:discovery", ""),
    (Role, "system:controller:bootstrap-signer", "kube-public"),
    (RoleBinding, "system:controller:bootstrap-signer", "kube-public"),
    (StorageClass, "local-path", ""),
]


@pytest.mark.parametrize(("kind", "name", "namespace"), DELETABLE)
async def test_what_is_deleted_comes_back(kind: Any, name: str, namespace: str) -> None:
    plane = await Plane().start()
    client = root(plane)
    before = await client.get(kind, name, namespace)
    await client.delete(kind, name, namespace)
    with pytest.raises(NotFound):
        await client.get(kind, name, namespace)
    await again(plane)
    after = await client.get(kind, name, namespace)
    assert after.metadata.uid != before.metadata.uid
    for field in ("spec", "rules", "roleRef", "subjects", "subsets", "endpoints"):
        assert getattr(after, field, None) == getattr(before, field, None)


async def test_a_storage_class_that_a_user_changed_stays_changed() -> None:
    plane = await Plane().start()
    client = root(plane)
    made = await client.get(StorageClass, "local-path")
    assert made.metadata.annotations == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert made.provisioner == "kubelite.io/local-path"
    assert (made.reclaimPolicy, made.volumeBindingMode) == ("Delete", "WaitForFirstConsumer")
    assert made.allowVolumeExpansion is True
    mark = {"storageclass.kubernetes.io/is-default-class": "false"}
    await client.patch(StorageClass, "local-path", {"metadata": {"annotations": mark}})
    await again(plane)
    assert (await client.get(StorageClass, "local-path")).metadata.annotations == mark


def test_a_disabled_component_is_not_needed() -> None:
    roles = bootstrap_roles.defaults()
    kinds = [
        {need.kind for need in system_needs(config, APIPlace(), roles) if not need.removed_if_by}
        for config in (Config(), Config(disable=("local-storage",)))
    ]
    assert [StorageClass in found for found in kinds] == [True, False]


async def test_a_disabled_component_loses_what_it_made_until_it_is_enabled_again() -> None:
    place = Plane()

    async def start(*disable: str) -> tuple[list[bool], str]:
        plane = await place.start(disable=disable)
        assert plane.system.problem == ""
        objects = (
            plane.mirrors.get(StorageClass, "local-path"),
            plane.mirrors.get(Service, "kube-dns", "kube-system"),
        )
        settings = await root(plane).get(ConfigMap, "kubelite-cluster", "kube-system")
        return [one is not None for one in objects], settings.data["disabled"]

    assert await start() == ([True, True], "")
    assert await start("local-storage", "coredns") == ([False, False], "coredns")
    assert await start("coredns") == ([True, False], "coredns")
    assert await start() == ([True, True], "")


async def test_what_a_user_made_in_place_of_a_disabled_component_stays() -> None:
    place = Plane()
    plane = await place.start(disable=("local-storage", "coredns"))
    client = root(plane)
    await client.create(
        StorageClass(metadata=ObjectMeta(name="local-path"), provisioner="kubelite.io/local-path")
    )
    await client.create(service("kube-dns", "10.43.0.10", "kube-system"))
    await again(plane)
    plane = await place.start(disable=("local-storage", "coredns"))
    assert plane.mirrors.get(StorageClass, "local-path") is not None
    assert plane.mirrors.get(Service, "kube-dns", "kube-system") is not None
    data = (await root(plane).get(ConfigMap, "kubelite-cluster", "kube-system")).data
    assert data["disabled"] == "coredns"


async def test_what_is_bent_is_made_straight() -> None:
    plane = await Plane().start()
    client = root(plane)
    kubernetes = await client.get(Service, "kubernetes", "default")
    spec = replace(kubernetes.spec, selector={"app": "mine"}, type="NodePort")
    await client.update(replace(kubernetes, spec=spec))
    level = await client.get(PriorityLevelConfiguration, "workload-low")
    assert level.spec.limited is not None
    limited = replace(level.spec.limited, nominalConcurrencyShares=1)
    await client.update(replace(level, spec=replace(level.spec, limited=limited)))
    await client.delete(ClusterRoleBinding, "system:discovery")
    ref = RoleRef(apiGroup="rbac.authorization.k8s.io", kind="ClusterRole", name="view")
    await client.create(
        ClusterRoleBinding(metadata=ObjectMeta(name="system:discovery"), roleRef=ref)
    )
    await again(plane)
    assert (await client.get(Service, "kubernetes", "default")).spec == kubernetes.spec
    assert (await client.get(PriorityLevelConfiguration, "workload-low")).spec == level.spec
    rebound = await client.get(ClusterRoleBinding, "system:discovery")
    assert rebound.roleRef.name == "system:discovery"


async def test_a_level_that_was_set_aside_is_left_alone() -> None:
    plane = await Plane().start()
    client = root(plane)
    level = await client.get(PriorityLevelConfiguration, "workload-low")
    assert level.spec.limited is not None
    mine = replace(
        level,
        metadata=replace(
            level.metadata, annotations={"apf.kubernetes.io/autoupdate-spec": "false"}
        ),
        spec=replace(level.spec, limited=replace(level.spec.limited, nominalConcurrencyShares=1)),
    )
    written = await client.update(mine)
    await again(plane)
    assert (await client.get(PriorityLevelConfiguration, "workload-low")).spec == written.spec


@pytest.mark.parametrize(
    ("kind_name", "name", "namespace", "address"),
    [
        ("Service", "kubernetes", "default", "10.43.0.1"),
        ("Service", "kube-dns", "kube-system", "10.43.0.10"),
    ],
)
async def test_an_address_that_was_taken_keeps_no_server_from_starting(
    kind_name: str, name: str, namespace: str, address: str
) -> None:
    place = Plane()
    client = root(await place.start())
    await client.delete(Service, name, namespace)
    await client.create(service("rival", address))
    plane = await place.start()
    client = root(plane)
    assert list(plane.system.problems) == [(kind_name, f"{namespace}/{name}")]
    assert plane.system.problem.startswith(
        f"Service {namespace}/{name}: Service default/rival has its place: "
    )
    assert "provided IP is already allocated" in plane.system.problem
    assert plane.probes["system-objects"]() == plane.system.problem
    await client.delete(Service, "rival", "default")
    await again(plane)
    assert plane.system.problem == ""
    assert (await client.get(Service, name, namespace)).spec.clusterIP == address


async def test_another_service_range_than_before() -> None:
    place = Plane()
    await place.start()
    plane = await place.start(service_cidr="10.50.0.0/16")
    assert list(plane.system.problems) == [
        ("ServiceCIDR", "kubernetes"),
        ("Service", "default/kubernetes"),
        ("Service", "kube-system/kube-dns"),
    ]
    assert "10.43.0.1, not 10.50.0.1" in plane.system.problem
    # Pods that run know the old address: the certificate is good for both.
    assert plane.service_addresses == ("10.50.0.1", "10.43.0.1")
    client = root(plane)
    for name, namespace in (("kubernetes", "default"), ("kube-dns", "kube-system")):
        await client.delete(Service, name, namespace)
    await again(plane)
    assert list(plane.system.problems) == [("ServiceCIDR", "kubernetes")]
    assert list(plane.service_addresses) == ["10.50.0.1"]
    assert (await client.get(Service, "kube-dns", "kube-system")).spec.clusterIP == "10.50.0.10"


async def headless(client: LocalClient) -> None:
    await client.delete(Service, "kubernetes", "default")
    await client.create(service("kubernetes", "None"))


async def forbidden(client: LocalClient) -> None:
    await client.create(
        ResourceQuota(
            metadata=ObjectMeta(name="none", namespace="default"),
            spec=ResourceQuotaSpec(hard={"services": "0"}),
        )
    )
    await client.delete(Service, "kubernetes", "default")


@pytest.mark.parametrize("act", [headless, forbidden])
async def test_whatever_users_do_the_next_start_succeeds(
    act: Callable[[LocalClient], Awaitable[None]],
) -> None:
    place = Plane()
    await act(root(await place.start()))
    plane = await place.start()
    assert "Service default/kubernetes" in plane.system.problem
    assert len(plane.system.problems) == 1


@pytest.mark.parametrize("address", ["", "127.0.0.1", "2001:db8::1"])
async def test_without_an_address_for_pods_the_endpoint_is_left_out(address: str) -> None:
    plane = await Plane().start(address)
    assert plane.system.problem == ""
    client = root(plane)
    assert (await client.get(Endpoints, "kubernetes", "default")).subsets == []
    assert (await client.get(EndpointSlice, "kubernetes", "default")).endpoints == []
    for wanted in ("192.0.2.9", "192.0.2.10"):
        plane.move(wanted)
        await again(plane)
        endpoints = await client.get(Endpoints, "kubernetes", "default")
        assert [one.ip for one in endpoints.subsets[0].addresses] == [wanted]
    plane.move(address)
    await again(plane)
    assert (await client.get(Endpoints, "kubernetes", "default")).subsets == []


async def test_the_classes_of_the_system_cannot_be_deleted() -> None:
    client = root(await Plane().start())
    for name in ("system-cluster-critical", "system-node-critical"):
        with pytest.raises(Exception) as refused:  # noqa: PT011 - the words are compared below
            await client.delete(PriorityClass, name)
        assert str(refused.value) == (
            f'priorityclasses.scheduling.k8s.io "{name}" is forbidden: '
            "this is a system priority class and cannot be deleted"
        )


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_namespaces_of_the_system_cannot_be_deleted(name: str) -> None:
    client = root(await Plane().start())
    with pytest.raises(Exception, match="is forbidden: this namespace may not be deleted"):
        await client.delete(Namespace, name)


async def test_agents_find_the_settings_of_the_cluster() -> None:
    plane = await Plane().start(cluster_cidr="10.50.0.0/16", cluster_dns="10.43.0.20")
    found = await root(plane).get(ConfigMap, "kubelite-cluster", "kube-system")
    assert found.data == {
        "cluster-cidr": "10.50.0.0/16",
        "service-cidr": "10.43.0.0/16",
        "cluster-dns": "10.43.0.20",
        "cluster-domain": "cluster.local",
        "node-cidr-mask-size": "24",
        "disabled": "",
        "version": __version__,
        "kubernetes-version": "v1.36.2+kubelite",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"cluster-cidr": "192.0.2.0/24", "version": None, "mine": "stays"}},
        {"immutable": True, "data": {"cluster-cidr": "192.0.2.0/24"}},
    ],
)
async def test_the_settings_are_kept_true(change: dict[str, Any]) -> None:
    plane = await Plane().start()
    await root(plane).patch(ConfigMap, "kubelite-cluster", change, "kube-system")
    await again(plane)
    found = await root(plane).get(ConfigMap, "kubelite-cluster", "kube-system")
    assert found.data["cluster-cidr"] == "10.42.0.0/16"
    assert found.data["version"] == __version__
    assert found.data.get("mine", "") == (
        "" if found.immutable or "immutable" in change else "stays"
    )
    assert not plane.system.problem


async def test_what_extension_servers_trust_follows_a_new_authority() -> None:
    plane, random = Plane(), SeededRandomness(3)
    now = plane.clock.now()
    first, second, front = (new_authority(one, now, random).certificate for one in ("1", "2", "f"))

    def need(*authorities: Any) -> Need:
        proxies = [ProxyAuthority((front,), ("front-proxy-client",))]
        return extension_need(trust_of(certificate_pem(*authorities), proxies), plane.clock)

    def trusted(server: ControlPlane) -> str:
        found = server.mirrors.get(ConfigMap, NAME, "kube-system")
        assert found is not None
        return found.data["client-ca-file"]

    server = await plane.start(needs=[need(first)])
    assert trusted(server) == certificate_pem(first).decode()
    version = plane.store.revision
    server = await plane.start(needs=[need(first)])
    assert plane.store.revision == version
    server = await plane.start(needs=[need(second, first)])
    assert trusted(server) == certificate_pem(first, second).decode()
    # Nobody can lock it.
    current = await root(server).get(ConfigMap, NAME, "kube-system")
    await root(server).update(replace(current, data={}, immutable=True))
    server = await plane.start(needs=[need(second, first)])
    assert trusted(server) == certificate_pem(second, first).decode()
    assert not server.system.problem
