"""What an ephemeral cluster consists of: names, addresses, ports and files, decided before anything is made. Pure."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any, Literal

import msgspec
from msgspec import Struct

from kubelite.limits import CLUSTER_AGENTS

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
NAME_LENGTH_MAX = 30  # with -agent-NN it is the name of a host
SERVER, INGRESS = "server", "ingress"
NETWORKS = ip_network("10.213.0.0/16")  # a /24 of it for each cluster
API_PORT = 6443
API_PORTS = range(16443, 17443)  # of clusters without a node, on the loopback
FIRST_ADDRESS = 2  # of a node in its network; 1 is the machine itself
PORT = re.compile(
    r"(?:(?P<ip>[0-9.]+|\[[0-9a-f:.]+\]):)?(?P<host>[0-9]+):(?P<port>[0-9]+)@(?P<at>[-a-z0-9]+)"
)

HOST_NAME = "host.kubelite.internal"  # the machine, as its nodes know it
REGISTRY = f"{HOST_NAME}:5000"  # of the machine, as images on its nodes name it

Phase = Literal["making", "made", "going"]


class PlanFailed(Exception):
    """A cluster cannot be as it is wanted; the message is one line for the user."""


class Port(Struct, frozen=True):
    """A port of the machine that leads to a port of a node."""

    host_ip: str
    host_port: int
    node: str  # the short name of a node; that of the server for the ingress
    port: int

    def __str__(self) -> str:
        return f"{self.host_ip}:{self.host_port}:{self.port}@{self.node}"


class Wanted(Struct, frozen=True):
    """What the user asks for."""

    name: str
    agents: int | None = None
    simulate_nodes: int = 0
    simulation: str = ""  # path of a file
    registries: str = ""  # path of a file, for all real nodes
    images: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    wait_seconds: float = 60.0
    server: Mapping[str, Any] = {}  # further settings, by their names in a configuration file
    agent: Mapping[str, Any] = {}


class Node(Struct, frozen=True):
    """A real node."""

    short: str  # unique in the cluster: server, agent-0
    name: str  # in the API, and of its host
    address: str


class Plan(Struct, frozen=True):
    """A cluster. `network` is empty when it has no real node."""

    name: str
    id: str  # by which what it has in the kernel is found
    phase: Phase = "making"
    network: str = ""
    nodes: tuple[Node, ...] = ()
    api_port: int = API_PORT
    ports: tuple[Port, ...] = ()
    simulate_nodes: int = 0
    simulates: bool = False  # there is a file that says what
    server: Mapping[str, Any] = {}
    agent: Mapping[str, Any] = {}

    @property
    def bridge(self) -> str:
        """The link of the machine to which all its nodes are connected; also the name of its table of rules."""
        return f"kl-{self.id}"

    @property
    def gateway(self) -> str:
        """The address of the machine in its network."""
        return str(IPv4Network(self.network)[1])

    @property
    def url(self) -> str:
        """Where its API answers."""
        host = self.nodes[0].address if self.nodes else "127.0.0.1"
        return f"https://{host}:{self.api_port}"

    def cable(self, node: Node) -> str:
        """Return the name of the machine's end of a node's cable."""
        return f"klv{self.id}{self.nodes.index(node)}"

    def node(self, name: str) -> Node:
        """Return a node by its short or whole name. Raises PlanFailed."""
        for node in self.nodes:
            if name in (node.short, node.name):
                return node
        known = ", ".join(node.short for node in self.nodes) or "none that is real"
        raise PlanFailed(f"cluster {self.name} has no node {name}; it has {known}")

    @property
    def context(self) -> str:
        """The name of its context in kubeconfigs."""
        return f"kubelite-{self.name}"


class Surroundings(Struct, frozen=True):
    """What the machine has already."""

    is_root: bool
    networks: Collection[str] = ()  # of its routes, and of other clusters
    ports: Collection[int] = ()  # of other clusters
    is_free: Callable[[str, int], bool] = lambda *_: True  # whether nobody listens there


def identifier_of(folder: str) -> str:
    """Return the identifier of the cluster in a folder, by its absolute path."""
    return hashlib.sha256(folder.encode()).hexdigest()[:8]


def check_name(name: str) -> str:
    """Return a name. Raises PlanFailed if no cluster can have it."""
    if len(name) > NAME_LENGTH_MAX or NAME.fullmatch(name) is None:
        raise PlanFailed(
            f"cannot call a cluster {name[:60]!r}: must be at most {NAME_LENGTH_MAX} lower case letters, digits "
            "and '-', must start with a letter and must not end with '-'"
        )
    return name


def plan_of(wanted: Wanted, folder: str, around: Surroundings) -> Plan:
    """Return the cluster that is wanted, in a folder. Raises PlanFailed."""
    name = check_name(wanted.name)
    simulates = bool(wanted.simulate_nodes or wanted.simulation)
    is_real = wanted.agents is not None or not simulates
    if is_real and not around.is_root:
        raise PlanFailed(
            "real nodes need root: they have networks and mounts of their own; without root a cluster "
            "has simulated nodes alone, --simulate-nodes 1"
        )
    agents = wanted.agents or 0
    if not 0 <= agents <= CLUSTER_AGENTS.value:
        if agents > 0:
            CLUSTER_AGENTS.reached()
        raise PlanFailed(f"cannot use --agents {agents}: must be 0 to {CLUSTER_AGENTS.value}")
    if wanted.simulate_nodes < 0:
        raise PlanFailed(f"cannot use --simulate-nodes {wanted.simulate_nodes}: must be 0 or more")
    if wanted.registries and not is_real:
        raise PlanFailed(
            "cannot use --registry-config: simulated nodes pull no images; see --agents"
        )
    if wanted.images and not is_real:
        raise PlanFailed("cannot use --image: simulated nodes hold no images; see --agents")
    plan = Plan(
        name,
        identifier_of(folder),
        simulate_nodes=wanted.simulate_nodes,
        simulates=bool(wanted.simulation),
        server=wanted.server,
        agent=wanted.agent,
    )
    if not is_real:
        if wanted.ports:
            raise PlanFailed("cannot use --port: nothing answers on simulated nodes; see --agents")
        return msgspec.structs.replace(plan, api_port=_free_port(around))
    network = free_network(around.networks)
    shorts = [SERVER, *(f"agent-{number}" for number in range(agents))]
    nodes = tuple(
        Node(short, f"{name}-{short}", str(network[number]))
        for number, short in enumerate(shorts, FIRST_ADDRESS)
    )
    plan = msgspec.structs.replace(plan, network=str(network), nodes=nodes)
    return msgspec.structs.replace(plan, ports=_ports(wanted.ports, plan, around))


def with_other_port(plan: Plan, around: Surroundings) -> Plan:
    """Return a plan whose API has another port, after somebody has taken the one it had. Raises PlanFailed."""
    return msgspec.structs.replace(plan, api_port=_free_port(around))


def free_network(taken: Iterable[str]) -> IPv4Network:
    """Return the first network for a cluster that overlaps none of those that are taken. Raises PlanFailed."""
    others = [one for one in map(ip_network, taken) if one.version == 4 and one.prefixlen]
    for network in NETWORKS.subnets(new_prefix=24):
        if not any(network.overlaps(other) for other in others):
            assert isinstance(network, IPv4Network)
            return network
    raise PlanFailed(
        f"no network of {NETWORKS} is free: delete a cluster, see kubelite cluster list"
    )


def _free_port(around: Surroundings) -> int:
    for port in API_PORTS:
        if port not in around.ports and around.is_free("127.0.0.1", port):
            return port
    raise PlanFailed(f"no port from {API_PORTS[0]} to {API_PORTS[-1]} is free")


def _ports(texts: Sequence[str], plan: Plan, around: Surroundings) -> tuple[Port, ...]:
    ports = [parse_port(text, plan) for text in texts]
    for number, (text, port) in enumerate(zip(texts, ports, strict=True)):
        if any(other.host_port == port.host_port for other in ports[:number]):
            raise PlanFailed(f"cannot use --port {text}: {port.host_port} is given twice")
        if port.host_port in around.ports:
            raise PlanFailed(f"cannot use --port {text}: another cluster has {port.host_port}")
        if not around.is_free(port.host_ip, port.host_port):
            raise PlanFailed(f"cannot use --port {text}: {port.host_port} is in use")
    return tuple(ports)


def parse_port(text: str, plan: Plan) -> Port:
    """Return a port given as ``[IP:]HOST:CONTAINER@ingress`` or ``…@NODE``. Raises PlanFailed."""
    found = PORT.fullmatch(text)
    if found is None:
        raise PlanFailed(
            f"cannot use --port {text!r}: must be [IP:]HOST:CONTAINER@ingress or [IP:]HOST:CONTAINER@NODE"
        )
    numbers = int(found["host"]), int(found["port"])
    if not all(0 < number < 65536 for number in numbers):
        raise PlanFailed(f"cannot use --port {text!r}: ports are 1 to 65535")
    address = (found["ip"] or "127.0.0.1").strip("[]")
    try:
        ip_address(address)
    except ValueError as error:
        raise PlanFailed(f"cannot use --port {text!r}: {error}") from None
    node = SERVER if found["at"] == INGRESS else plan.node(found["at"]).short
    return Port(address, numbers[0], node, numbers[1])


def server_settings(plan: Plan, folder: str) -> dict[str, Any]:
    """Return the configuration of a cluster's server, whose state is in `folder`."""
    common = {
        **plan.server,
        "data-dir": f"{folder}/data",
        "write-kubeconfig": f"{folder}/admin.yaml",
        "https-listen-port": plan.api_port,
    }
    if plan.simulate_nodes:
        common["simulate-nodes"] = plan.simulate_nodes
    if plan.simulates:
        common["simulation-file"] = f"{folder}/simulation.yaml"
    if not plan.nodes:
        return {**common, "disable-agent": True, "bind-address": "127.0.0.1"}
    return {**common, **_node_settings(plan.nodes[0], folder)}


def agent_settings(plan: Plan, node: Node, folder: str) -> dict[str, Any]:
    """Return the configuration of an agent, whose state is in `folder`."""
    return {
        **plan.agent,
        "data-dir": f"{folder}/data",
        "join": [plan.url],
        "token-file": f"{folder}/token",
        **_node_settings(node, folder),
    }


def _node_settings(node: Node, folder: str) -> dict[str, Any]:
    return {
        "node-name": node.name,
        "node-ip": node.address,
        "container-log-dir": f"{folder}/pod-logs",
    }


def own_registries() -> dict[str, Any]:
    """Return the registries of nodes that were given none: the one of the machine, which needs no certificate."""
    return {"mirrors": {REGISTRY: {"endpoint": [f"http://{REGISTRY}"]}}}


def kubeconfig_of(plan: Plan, written: str) -> str:
    """Return the kubeconfig of a cluster's server as it is to be used on the machine."""
    text = re.sub(r"(?m)^(\s*(?:- )?server:).*$", rf"\1 {plan.url}", written)
    text = re.sub(r"(?m)^(current-context:).*$", rf"\1 {plan.context}", text)
    # All three have one name in the server's own; a merge of several files needs different ones.
    return re.sub(r"(?m)^(\s*(?:- )?(?:name|cluster|user):) \S+$", rf"\1 {plan.context}", text)
