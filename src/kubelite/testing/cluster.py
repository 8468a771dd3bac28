"""A whole cluster inside a test: API, controllers, scheduler and simulated nodes, with a time of its own."""

import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from kubelite.api.auth.caller import AUTHENTICATED, SYSTEM_MASTERS, Caller
from kubelite.api.auth.front_proxies import FrontProxies
from kubelite.api.auth.pki import Pki, serving_addresses, serving_names
from kubelite.api.auth.signing import CertificateSigner, read_request
from kubelite.api.auth.tokens import service_account_caller
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.local import LocalClient
from kubelite.api.client.protocol import Object
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.registry.bootstrap import CALLER
from kubelite.api.registry.expiry import EventExpiry
from kubelite.clock import SystemClock
from kubelite.composition import Composition, node_client
from kubelite.config import Config
from kubelite.control.options import Options
from kubelite.control_plane import ControlPlane
from kubelite.node.simulated.fleet import Fleet
from kubelite.node.simulated.settings import Rule
from kubelite.offload import AtOnce
from kubelite.parts import Parts
from kubelite.randomness import Randomness, SeededRandomness, SystemRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine
from kubelite.tasks import TaskSet
from kubelite.testing.client import ClusterClient
from kubelite.testing.clock import ClusterClock
from kubelite.testing.hooks import LateWebhooks
from kubelite.testing.loop import Door
from kubelite.testing.nodes import Nodes, simulation_of
from kubelite.testing.objects import (
    KindName,
    Objects,
    client_of,
    find_resource,
    read_objects,
    resource_of,
)
from kubelite.testing.waiting import Predicate, Wait

if TYPE_CHECKING:
    from kubelite.testing.blocking import BlockingCluster
    from kubelite.testing.port import Port

T = TypeVar("T")

ADMINISTRATOR = "kubernetes-admin"
MANAGER = "kubelite.testing"  # the field manager of what a test writes
WAIT_SECONDS = 60.0
RENEW_SECONDS = 30.0  # within the grace of nodes; most of what a day costs that passes at once
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder with a name of its own is made there
API_PORT = 6443  # of the endpoints of the API's Service, which nobody in the cluster reaches
SERVICE_ACCOUNT = "system:serviceaccount:"


class Cluster:
    """A cluster for a test; use it as an async context, in any event loop.

    It runs inside the loop of who uses it, between the steps of that, and has a time of its own. With `Cluster.start()`
    it runs in a thread, for tests without a loop.
    """

    def __init__(
        self,
        *,
        data_dir: Path | str | None = None,
        pods: Sequence[Rule] = (),
        seed: int | None = None,
    ) -> None:
        """The store is in memory, or on disk in `data_dir`. `pods` say what pods do, the first that matches.

        With a `seed` all names, identifiers and jitter of the cluster repeat.
        """
        self._door = Door()
        self.clock = ClusterClock(self._door)
        self._data_dir = None if data_dir is None else Path(data_dir)
        self._rules = pods
        self._randomness: Randomness = (
            SystemRandomness() if seed is None else SeededRandomness(seed)
        )
        self._running = AsyncExitStack()
        self._started: _Started | None = None

    @staticmethod
    def start(
        *,
        data_dir: Path | str | None = None,
        pods: Sequence[Rule] = (),
        seed: int | None = None,
    ) -> "BlockingCluster":
        """Return a cluster that runs in a thread, with calls that wait; the arguments are those of `Cluster`."""
        from kubelite.testing.blocking import BlockingCluster

        return BlockingCluster(Cluster(data_dir=data_dir, pods=pods, seed=seed))

    async def __aenter__(self) -> "Cluster":
        try:
            await self._door.run(self.boot())
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()

    @property
    def door(self) -> Door:
        """The way into the loop of the cluster, for façades."""
        return self._door

    @property
    def nodes(self) -> Nodes:
        """The simulated nodes."""
        return self._parts.nodes

    @property
    def url(self) -> str:
        """The URL of the API, with TLS, on a port of 127.0.0.1 that is opened when this is first read."""
        return self._door.call(self._opened).url

    def kubeconfig(self) -> str:
        """Return the text of an administrator's kubeconfig; opens the port."""
        return self._parts.pki.kubeconfig(self.url)

    def client(self, user: str = "", groups: Sequence[str] = ()) -> ClusterClient:
        """Return a client that acts as `user`, by default an administrator; all it does is authorized and admitted.

        A service account, ``system:serviceaccount:NAMESPACE:NAME``, is in its groups besides.
        """
        return ClusterClient(self._door, self._local(_caller(user, groups)))

    async def apply(self, objects: Objects) -> Sequence[Object]:
        """Create or change objects as `kubectl apply --server-side` does; return them as stored.

        `objects` are YAML, its file, or objects typed or as dicts; those of namespaces are in default if they do not
        say. Raises ValueError for what is no object, LookupError for kinds that are not served, and APIError.
        """
        return await self._door.run(self._apply([*read_objects(objects)]))

    async def wait_for(
        self,
        kind: KindName,
        name: str,
        namespace: str = "default",
        *,
        condition: str = "",
        predicate: Predicate | None = None,
        timeout_seconds: float = WAIT_SECONDS,
    ) -> Any:
        """Return an object as soon as it exists and meets `condition` (``Available``, ``Ready=False``) and `predicate`.

        It is typed if `kind` is a type, else a dict. With the condition ``Deleted`` it waits until there is none, and
        returns None. Raises NotReached after a time of the cluster, and LookupError for a kind that is not served.
        """
        return await self._door.run(
            self._wait(kind, name, namespace, condition, predicate, timeout_seconds)
        )

    async def settled(self) -> None:
        """Return when the cluster has nothing left to do at this time; what waits for a time still waits."""
        await self._door.run(self._door.loop.settled())

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out a coroutine in the loop of the cluster, where `asyncio.sleep` is a time of the cluster."""
        return await self._door.run(work)

    @property
    def _parts(self) -> "_Started":
        if self._started is None:
            raise RuntimeError("the cluster does not run; use `async with`, or `Cluster.start()`")
        return self._started

    def _local(self, caller: Caller) -> LocalClient:
        return self._parts.plane.client(caller, MANAGER)

    async def boot(self) -> None:
        """Start, in the loop of the cluster, for façades."""
        store = await self._store()
        self._running.push_async_callback(store.close)
        pki = self._pki()
        certificates = SystemClock()  # clients outside have the machine's time
        hooks = LateWebhooks(self._randomness)
        self._running.push_async_callback(hooks.close)
        plane = ControlPlane(
            store,
            clock=self.clock,
            randomness=self._randomness,
            signing_keys=pki.signing_keys,
            certificates=ClientCertificates(pki.trusted, certificates),
            proxies=FrontProxies((), certificates),
            config=Config(disable_agent=True),
            offload=AtOnce(),
            hooks=hooks.over,
        )
        self._running.push_async_callback(plane.measuring.close)
        await plane.bootstrap("", API_PORT)
        tasks = TaskSet()
        self._running.push_async_callback(tasks.stop)
        expiry = EventExpiry(store, clock=self.clock, tasks=tasks)
        expiry.start()
        self._running.callback(expiry.stop)
        parts = Parts(plane)
        self._running.push_async_callback(parts.stop)
        await self._composition(plane, pki).start(parts)
        fleet = self._fleet(plane)
        fleet.reached(plane.measuring.reach)(_unreachable)
        await parts.start("simulation", lambda: fleet)

        async def ready(name: str) -> object:
            return await self._wait(Node, name, "", "Ready", None, WAIT_SECONDS)

        self._started = _Started(plane, pki, fleet, Nodes(fleet, self._door, ready))
        await self._door.loop.settled()

    async def _store(self) -> EmbeddedStore:
        if self._data_dir is None:
            return EmbeddedStore(MemoryEngine(), clock=self.clock)
        self._data_dir.mkdir(parents=True, exist_ok=True)
        return await EmbeddedStore.open(self._data_dir / "store", clock=self.clock)

    def _pki(self) -> Pki:
        if self._data_dir is None:
            folder = tempfile.TemporaryDirectory(
                prefix="kubelite-", dir=MEMORY if MEMORY.is_dir() else None
            )
            self._running.callback(folder.cleanup)
            place = Path(folder.name) / "pki"
        else:
            place = self._data_dir / "pki"
        config = Config()
        return Pki.ensure(
            place,
            clock=SystemClock(),
            randomness=self._randomness,
            names=serving_names(config.cluster_domain, "localhost"),
            addresses=serving_addresses(config.api_address, ()),
            node_name="localhost",
            services=(config.api_address,),
        )

    def _composition(self, plane: ControlPlane, pki: Pki) -> Composition:
        options = Options(
            cluster_ca=pki.ca_pem.decode(),
            signer=CertificateSigner(pki, SystemClock(), self._randomness),
            read_request=read_request,
            token_issuer=plane.tokens,
            system=plane.system,
        )
        return Composition(
            plane,
            clock=self.clock,
            randomness=self._randomness,
            offload=AtOnce(),
            options=options,
        )

    def _fleet(self, plane: ControlPlane) -> Fleet:
        return Fleet(
            simulation_of(self._rules),
            (),
            lambda name: node_client(plane, name),
            plane.client(CALLER, "kubelet"),
            self.clock,
            self._randomness,
            renew_seconds=RENEW_SECONDS,
        )

    async def _end(self) -> None:
        try:
            await self._door.run(self.halt())
        finally:
            self._door.close()

    async def halt(self) -> None:
        """Stop, in the loop of the cluster, for façades."""
        if self._started is not None and self._started.port is not None:
            await self._started.port.close()
        self._started = None
        try:
            await self._running.aclose()
        finally:
            await self._door.loop.finish()

    def _opened(self) -> "Port":
        parts = self._parts
        if parts.port is None:
            from kubelite.testing.port import Port

            parts.port = Port()
            parts.port.open(parts.plane, parts.pki, parts.fleet, self.clock, self._randomness)
        return parts.port

    async def _apply(self, items: Sequence[Object]) -> Sequence[Object]:
        client, table = self._local(_caller("", ())), self._parts.plane.resources
        stored = []
        for item in items:
            row = resource_of(table, item)
            metadata = {**(item.get("metadata") or {})}
            if row.namespaced:
                metadata.setdefault("namespace", "default")
            body = {**item, "metadata": metadata}
            of = client_of(client, row)
            if not metadata.get("name"):  # generateName
                stored.append(await of.create(body))
                continue
            name, namespace = metadata["name"], metadata.get("namespace", "")
            stored.append(await of.patch(name, body, namespace, patch_type="apply", force=True))
            if item["kind"] == "CustomResourceDefinition":
                await self._door.loop.settled()  # the next object may be one of its resource
        return stored

    async def _wait(
        self,
        kind: KindName,
        name: str,
        namespace: str,
        condition: str,
        predicate: Callable[[Any], object] | None,
        timeout_seconds: float,
    ) -> Any:
        row = find_resource(self._parts.plane.resources, kind)
        wait = Wait(row, kind, name, namespace, condition=condition, predicate=predicate)
        return await wait.over(self._local(_caller("", ())), timeout_seconds)


class _Started:
    """What there is while a cluster runs."""

    def __init__(self, plane: ControlPlane, pki: Pki, fleet: Fleet, nodes: Nodes) -> None:
        self.plane = plane
        self.pki = pki
        self.fleet = fleet
        self.nodes = nodes
        self.port: Port | None = None


def _caller(user: str, groups: Sequence[str]) -> Caller:
    """Return an identity, with the groups that everybody has who proves it."""
    if not user:
        return Caller(ADMINISTRATOR, (SYSTEM_MASTERS, AUTHENTICATED, *groups))
    if user.startswith(SERVICE_ACCOUNT) and user.count(":") == SERVICE_ACCOUNT.count(":") + 1:
        namespace, _, name = user.removeprefix(SERVICE_ACCOUNT).partition(":")
        own = service_account_caller(namespace, name)
        return Caller(own.user, tuple(dict.fromkeys((*own.groups, *groups))))
    return Caller(user, tuple(dict.fromkeys((*groups, AUTHENTICATED))))


async def _unreachable(name: str) -> bytes:
    raise LookupError(f"no node {name} is simulated")
