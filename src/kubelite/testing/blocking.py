"""The façade of a cluster in a thread: the same calls, which wait instead of being awaited."""

from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

from kubelite.api.client.protocol import (
    Client,
    Object,
    PatchType,
    Propagation,
    ResourceClient,
)
from kubelite.api.kinds.model import Kind
from kubelite.testing.cluster import WAIT_SECONDS, Cluster
from kubelite.testing.loop import Door
from kubelite.testing.objects import KindName, Objects
from kubelite.testing.waiting import Predicate

K = TypeVar("K", bound=Kind)
T = TypeVar("T")


class BlockingCluster:
    """A cluster that runs in a thread until `stop`; also a context manager."""

    def __init__(self, cluster: Cluster) -> None:
        """Start it."""
        self.asynchronous = cluster  # the same cluster, to be awaited in any loop
        self._door = cluster.door
        self._is_running = True
        self._door.start_thread()
        try:
            self._door.block(cluster.boot())
        except BaseException:
            self.stop()
            raise
        self.clock = BlockingClock(cluster)
        self.nodes = BlockingNodes(cluster)

    def stop(self) -> None:
        """End the cluster; once more does nothing."""
        if self._is_running:
            self._is_running = False
            try:
                self._door.block(self.asynchronous.halt())
            finally:
                self._door.close()

    def __enter__(self) -> "BlockingCluster":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """As `Cluster.url`."""
        return self.asynchronous.url

    def kubeconfig(self) -> str:
        """As `Cluster.kubeconfig`."""
        return self.asynchronous.kubeconfig()

    def client(self, user: str = "", groups: Sequence[str] = ()) -> "BlockingClient":
        """As `Cluster.client`."""
        return BlockingClient(self._door, self.asynchronous.client(user, groups))

    def apply(self, objects: Objects) -> Sequence[Object]:
        """As `Cluster.apply`."""
        return self._door.block(self.asynchronous.apply(objects))

    def wait_for(
        self,
        kind: KindName,
        name: str,
        namespace: str = "default",
        *,
        condition: str = "",
        predicate: Predicate | None = None,
        timeout_seconds: float = WAIT_SECONDS,
    ) -> Any:
        """As `Cluster.wait_for`."""
        return self._door.block(
            self.asynchronous.wait_for(
                kind,
                name,
                namespace,
                condition=condition,
                predicate=predicate,
                timeout_seconds=timeout_seconds,
            )
        )

    def settled(self) -> None:
        """As `Cluster.settled`."""
        self._door.block(self.asynchronous.settled())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """As `Cluster.run`."""
        return self._door.block(work)


class BlockingClock:
    """The time of a cluster in a thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._door = cluster.door
        self._clock = cluster.clock

    def now(self) -> datetime:
        """As `ClusterClock.now`."""
        return self._clock.now()

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """As `ClusterClock.advance`."""
        self._door.block(
            self._clock.advance(days=days, hours=hours, minutes=minutes, seconds=seconds)
        )

    def hold(self) -> None:
        """As `ClusterClock.hold`."""
        self._clock.hold()

    def go_on(self) -> None:
        """As `ClusterClock.go_on`."""
        self._clock.go_on()


class BlockingNodes:
    """The nodes of a cluster in a thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._door = cluster.door
        self._nodes = cluster.nodes

    def add(
        self,
        count: int = 1,
        *,
        name: str = "node",
        cpu: str | int = "4",
        memory: str | int = "8Gi",
        pods: int = 110,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[str] = (),
    ) -> Sequence[str]:
        """As `Nodes.add`."""
        work = self._nodes.add(
            count, name=name, cpu=cpu, memory=memory, pods=pods, labels=labels, taints=taints
        )
        return self._door.block(work)

    def lose(self, name: str) -> None:
        """As `Nodes.lose`."""
        self._door.block(self._nodes.lose(name))

    def heal(self, name: str) -> None:
        """As `Nodes.heal`."""
        self._door.block(self._nodes.heal(name))


class BlockingClient:
    """The calls of `Client`, without those that follow changes."""

    def __init__(self, door: Door, client: Client) -> None:
        self._door = door
        self._client = client

    def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        """As `Client.get`."""
        return self._door.block(self._client.get(kind, name, namespace))

    def list(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[K]:
        """As `Client.list`."""
        work = self._client.list(
            kind, namespace, label_selector=label_selector, field_selector=field_selector
        )
        return self._door.block(work)

    def create(self, item: K) -> K:
        """As `Client.create`."""
        return self._door.block(self._client.create(item))

    def update(self, item: K, subresource: str = "") -> K:
        """As `Client.update`."""
        return self._door.block(self._client.update(item, subresource))

    def patch(
        self,
        kind: type[K],
        name: str,
        patch: Object | Sequence[Object],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> K:
        """As `Client.patch`."""
        work = self._client.patch(
            kind,
            name,
            patch,
            namespace,
            patch_type=patch_type,
            subresource=subresource,
            force=force,
        )
        return self._door.block(work)

    def delete(
        self,
        kind: type[K],
        name: str,
        namespace: str = "",
        *,
        grace_seconds: int | None = None,
        propagation: Propagation = "",
    ) -> None:
        """As `Client.delete`."""
        work = self._client.delete(
            kind, name, namespace, grace_seconds=grace_seconds, propagation=propagation
        )
        self._door.block(work)

    def post(
        self, kind: type[Kind], name: str, subresource: str, body: Kind, namespace: str = ""
    ) -> Object:
        """As `Client.post`."""
        return self._door.block(self._client.post(kind, name, subresource, body, namespace))

    def resource(self, group: str, version: str, plural: str) -> "BlockingResource":
        """As `Client.resource`."""
        return BlockingResource(self._door, self._client.resource(group, version, plural))


class BlockingResource:
    """The calls of `ResourceClient` on single objects, and its list."""

    def __init__(self, door: Door, resource: ResourceClient) -> None:
        self._door = door
        self._resource = resource

    def get(self, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        """As `ResourceClient.get`."""
        return self._door.block(self._resource.get(name, namespace, subresource=subresource))

    def list(
        self, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        """As `ResourceClient.list`."""
        work = self._resource.list(
            namespace, label_selector=label_selector, field_selector=field_selector
        )
        return self._door.block(work)

    def create(self, item: Object, *, name: str = "", subresource: str = "") -> Object:
        """As `ResourceClient.create`."""
        return self._door.block(self._resource.create(item, name=name, subresource=subresource))

    def update(self, item: Object, *, subresource: str = "") -> Object:
        """As `ResourceClient.update`."""
        return self._door.block(self._resource.update(item, subresource=subresource))

    def patch(
        self,
        name: str,
        patch: Object | Sequence[Object],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> Object:
        """As `ResourceClient.patch`."""
        work = self._resource.patch(
            name, patch, namespace, patch_type=patch_type, subresource=subresource, force=force
        )
        return self._door.block(work)

    def delete(
        self,
        name: str,
        namespace: str = "",
        *,
        grace_seconds: int | None = None,
        propagation: Propagation = "",
    ) -> None:
        """As `ResourceClient.delete`."""
        work = self._resource.delete(
            name, namespace, grace_seconds=grace_seconds, propagation=propagation
        )
        self._door.block(work)
