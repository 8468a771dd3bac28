"""What a server or an agent would want of its host, by its configuration."""

from pathlib import Path

from msgspec import Struct

from kubelite.config import INGRESS, AgentConfig, Config
from kubelite.engine_config import WantedEngine
from kubelite.network_config import OWN_NETWORK


class Port(Struct, frozen=True):
    """A port that is listened on."""

    number: int
    protocol: str  # tcp or udp
    use: str
    flag: str  # by which another one is chosen
    is_vital: bool = True  # without it nothing works; else only what it is for fails


class Wanted(Struct, frozen=True):
    """The settings that an examination depends on."""

    data: Path
    agent: Path  # the agent's part of the data folder
    run: Path  # the folder of sockets and process ids
    store: Path
    node_name: str
    is_server: bool = True
    has_node: bool = True
    owns_network: bool = True  # False: CNI plugins of the host connect pods
    engine: WantedEngine = WantedEngine()
    ports: tuple[Port, ...] = ()
    node_ports: range = range(0)
    ranges: tuple[str, ...] = ()  # of pods and of Services; none: the server will tell
    dns_addresses: tuple[str, ...] = ()
    address: str = ""  # of the node, as configured


def wanted_of(config: Config | AgentConfig) -> Wanted:
    """Return what a configuration wants of the host. Raises InvalidConfig without a name for the node."""
    is_server = isinstance(config, Config)
    has_node = not (isinstance(config, Config) and config.disable_agent)
    return Wanted(
        data=Path(config.data_dir),
        agent=config.agent_dir,
        run=config.run_dir,
        store=config.store_dir,
        node_name=config.name_of_node,
        is_server=is_server,
        has_node=has_node,
        owns_network=config.network_plugin == OWN_NETWORK,
        engine=config.wanted_engine,
        ports=tuple(port for port in _ports(config, has_node=has_node) if port.number),
        node_ports=config.node_ports if isinstance(config, Config) else range(0),
        ranges=_ranges(config),
        dns_addresses=config.dns_addresses if isinstance(config, Config) else (),
        address=next(iter(config.node_ips), ""),
    )


def _ranges(config: Config | AgentConfig) -> tuple[str, ...]:
    if isinstance(config, Config):
        return (*config.cluster_cidrs, *config.service_cidrs)
    return tuple(filter(None, (*config.cluster_cidr.split(","), *config.service_cidr.split(","))))


def _ports(config: Config | AgentConfig, *, has_node: bool) -> list[Port]:
    ports = []
    if isinstance(config, Config):
        ports.append(Port(config.https_listen_port, "tcp", "the API", "--https-listen-port"))
    if not has_node:
        return ports
    ports.append(Port(config.kubelet_port, "tcp", "the node's endpoint", "--kubelet-port"))
    ports.append(
        Port(config.healthz_port, "tcp", "the node's health", "--healthz-port", is_vital=False)
    )
    if not (isinstance(config, Config) and INGRESS in config.disabled):
        web = (("http", config.ingress_http_port), ("https", config.ingress_https_port))
        for name, number in web:
            use, flag = f"Ingresses ({name})", f"--ingress-{name}-port"
            ports.append(Port(number, "tcp", use, flag, is_vital=False))
    return ports
