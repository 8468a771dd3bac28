"""Two nodes of both families with two pods each and a machine outside, all on one link, in network namespaces."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

from fakes.mirrored import MirroringClient
from msgspec import Struct
from msgspec.structs import replace

from integration.net_namespaces import in_namespace_of, process_in_namespace, shell
from integration.net_node import V4, V6, proxy_of
from integration.net_probes import Prober
from kubelite.api.client.mirror import ObjectMirror, name_of
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node, NodeAddress, NodeSpec, NodeStatus
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.networking import NetworkPolicy
from kubelite.net.overlay import Overlay
from kubelite.net.pod_network import PodNetwork
from kubelite.node.network import namespace_path

K = TypeVar("K", bound=Kind)
PORT = 8080  # that everything answers
FAR = ("198.51.100.2", "2001:db8:1::2")
POOL = ("198.51.100.50", "2001:db8:1::50")  # on no interface
POD_RANGES = ("10.42.0.0/16", "fd42::/56")

# Else only the first of many refusals a second are told to the sender.
REFUSE_OFTEN = "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0"


class Place(Struct, frozen=True):
    """A node or a pod, by name, with its address of each family, IPv4 first; `node` is the name of its node."""

    name: str
    node: str
    addresses: tuple[str, str]


NODES = (
    Place("left", "left", ("198.51.100.1", "2001:db8:1::1")),
    Place("right", "right", ("198.51.100.3", "2001:db8:1::3")),
)
PODS = (
    Place("a", "left", ("10.42.0.2", "fd42::2")),
    Place("b", "left", ("10.42.0.3", "fd42::3")),
    Place("c", "right", ("10.42.1.2", "fd42:0:0:1::2")),
    Place("d", "right", ("10.42.1.3", "fd42:0:0:1::3")),
)
OUTSIDE = Place("far", "", FAR)
CIDRS = {"left": ("10.42.0.0/24", "fd42::/64"), "right": ("10.42.1.0/24", "fd42:0:0:1::/64")}


def node_object(place: Place) -> Node:
    cidrs = list(CIDRS[place.name])
    addresses = [NodeAddress(type="InternalIP", address=one) for one in place.addresses]
    return Node(
        metadata=ObjectMeta(name=place.name),
        spec=NodeSpec(podCIDR=cidrs[0], podCIDRs=cidrs),
        status=NodeStatus(addresses=addresses),
    )


class NodesClient(MirroringClient):
    """Has a mirror of the node's own pods beside that of all pods; the nodes stay whatever else is set."""

    def __init__(self, node_name: str) -> None:
        super().__init__()
        self._node_name = node_name
        self._own_pods: ObjectMirror[Any] = ObjectMirror()
        self._own_pods.replace([])

    def mirror(self, kind: type[K], _namespace: str = "", **selectors: str) -> ObjectMirror[K]:
        """Return the mirror of a kind, or that of the node's own pods."""
        if kind is Pod and "spec.nodeName" in selectors.get("field_selector", ""):
            return self._own_pods
        return super().mirror(kind)

    def set(self, items: Sequence[Kind]) -> None:
        """Create or update objects, and remove all others but nodes."""
        own = [
            one for one in items if isinstance(one, Pod) and one.spec.nodeName == self._node_name
        ]
        _set(self._own_pods, own)
        for kind in (Service, EndpointSlice, NetworkPolicy, Namespace, Pod):
            _set(self.mirror(kind), [one for one in items if isinstance(one, kind)])


def _set(mirror: ObjectMirror[Any], items: Sequence[Kind]) -> None:
    names = set(map(name_of, items))
    for item in mirror.list():
        if name_of(item) not in names:
            mirror.remove(*name_of(item))
    for item in items:
        mirror.put(item)


class Side:
    """A node with its pods, which runs in a thread of its own."""

    def __init__(self, place: Place, pid: int) -> None:
        self._place = place
        self._pid = pid
        self._started = threading.Event()
        self._ended = asyncio.Event()
        self.client = NodesClient(place.name)
        self.probers: dict[str, Prober] = {}
        self.pid = pid
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Return once the node and its pods are up."""
        self._thread.start()
        assert self._started.wait(20)
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """End the node."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()

    def do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run something on the node's loop, in its namespace."""
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(20)

    def set(self, items: Sequence[Kind]) -> None:
        """Let the node see exactly these objects beside the nodes, and wait until its rules follow them."""

        async def put() -> None:
            self.client.set(items)
            async with asyncio.timeout(10):
                await self.proxy.applied()

        self.do(put)

    def _run(self) -> None:
        try:
            in_namespace_of(self._pid, self._main)
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            self._failure = error
        finally:
            self._started.set()

    async def _main(self, stack: ExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        place = self._place
        settings = [
            replace(one, node_name=place.name, node_addresses=(address,))
            for one, address in zip((V4, V6), place.addresses, strict=True)
        ]
        for item in NODES:
            self.client.put(node_object(item))
        self.proxy = proxy_of(self.client, settings)
        self.network = PodNetwork(listener=self.proxy)
        await self.network.start(*CIDRS[place.name])
        await self.proxy.start()
        overlay = Overlay(self.client.as_client(), place.name, place.addresses, *CIDRS[place.name])
        tasks = [asyncio.create_task(self.proxy.run()), asyncio.create_task(overlay.run())]
        try:
            await asyncio.wait_for(overlay.applied(2), 5)
            await asyncio.wait_for(self.proxy.applied(), 5)
            for pod in PODS:
                if pod.node == place.name:
                    pid = stack.enter_context(process_in_namespace())
                    await self.network.attach(pod.name, f"default/{pod.name}", namespace_path(pid))
                    _inside(pid, REFUSE_OFTEN)
                    self._probe_from(stack, pod.name, pid)
            self._probe_from(stack, place.name, self._pid)
            self._started.set()
            await self._ended.wait()
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await self.proxy.stop()
            await self.network.stop()

    def _probe_from(self, stack: ExitStack, name: str, pid: int) -> None:
        self.probers[name] = prober = Prober(name, pid, [PORT])
        stack.callback(prober.close)


class TwoNodes:
    """The nodes by name, and a prober per place."""

    def __init__(self, sides: dict[str, Side], far: Prober, far_pid: int) -> None:
        self.sides = sides
        self.far_pid = far_pid
        self.probers = {OUTSIDE.name: far}
        for side in sides.values():
            self.probers |= side.probers

    def set(self, *items: Kind) -> None:
        """Let both nodes see exactly these objects."""
        for side in self.sides.values():
            side.set(items)


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """Make the link, the nodes and the machine outside."""
    with ExitStack() as stack:
        outside = stack.enter_context(process_in_namespace())
        _inside(outside, "ip link set lo up; ip link add br0 type bridge; ip link set br0 up")
        _address(outside, "br0", FAR)
        sides = {}
        for place in NODES:
            pid = stack.enter_context(process_in_namespace())
            _inside(pid, f"ip link add up0 type veth peer name {place.name} netns {outside}")
            _inside(outside, f"ip link set {place.name} master br0 up")
            _inside(pid, "ip link set lo up; ip link set up0 up")
            _address(pid, "up0", place.addresses)
            for gateway in FAR:
                _inside(pid, f"ip route add default via {gateway}")
            _inside(pid, REFUSE_OFTEN)
            sides[place.name] = Side(place, pid)
        for route in ("10.42.0.0/24", "10.43.0.0/16", f"{POOL[0]}/32"):
            _inside(outside, f"ip route add {route} via {NODES[0].addresses[0]}")
        for route in ("fd42::/64", "fd43::/112", f"{POOL[1]}/128"):
            _inside(outside, f"ip route add {route} via {NODES[0].addresses[1]}")
        _inside(outside, f"ip route add 10.42.1.0/24 via {NODES[1].addresses[0]}")
        _inside(outside, f"ip route add fd42:0:0:1::/64 via {NODES[1].addresses[1]}")
        far = Prober(OUTSIDE.name, outside, [PORT])
        stack.callback(far.close)
        for side in sides.values():
            stack.callback(side.stop)
            side.start()
        yield TwoNodes(sides, far, outside)


def _inside(pid: int, commands: str) -> None:
    shell(f"nsenter -t {pid} -n sh -ec '{commands}'")


def _address(pid: int, link: str, addresses: tuple[str, str]) -> None:
    v4, v6 = addresses
    _inside(pid, f"ip addr add {v4}/24 dev {link}; ip addr add {v6}/64 dev {link} nodad")
