"""How engines behind Docker's API differ: Docker itself, and Podman's compatible socket. Pure."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Dialect(Struct, frozen=True):
    """What the node does otherwise on an engine; the defaults are Docker's."""

    name: str = "docker"
    removal: str = "destroy"  # the event of a removed container
    has_update: bool = (
        True  # changes the resources of a running container; else its control group is written
    )
    has_signal: bool = True  # returns once a signal is sent; else the process is signalled directly
    filters_events: bool = True  # by name and by the key of a label; else the node picks from all
    starts_dependencies: bool = (
        False  # starts a container whose namespaces another one joins, even an ended one
    )
    keeps_refusals: bool = True  # a refused start shows in the container's state
    caps_limits: bool = (
        True  # gives containers no higher limit of open files and processes than the host allows
    )
    missing_capabilities: tuple[str, ...] = ()  # that Docker gives and this engine withholds
    shares_host_name: bool = (
        True  # a container that joins a network namespace joins the host name as well
    )
    limits_processes: bool = False  # unless it is told not to
    unmask_option: str = ""  # the security option that shows what an engine hides of /proc and /sys

    @property
    def events(self) -> list[str]:
        """The events that change a container's record."""
        return ["start", "die", "oom", self.removal]


DOCKER = Dialect()
PODMAN = Dialect(
    "podman",
    removal="remove",
    has_update=False,
    has_signal=False,
    filters_events=False,
    starts_dependencies=True,
    keeps_refusals=False,
    caps_limits=False,
    missing_capabilities=("AUDIT_WRITE", "MKNOD", "NET_RAW"),
    shares_host_name=False,
    limits_processes=True,
    unmask_option="unmask=ALL",
)
UNLIMITED = -1
_BY_COMPONENT = {"Podman Engine": PODMAN}


def adapted(body: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return the body of Docker's that creates a container as another engine needs it for the same outcome."""
    host = dict(body["HostConfig"])
    dropped = {name.removeprefix("CAP_") for name in host.get("CapDrop") or ()}
    if "ALL" not in dropped:
        missing = [name for name in dialect.missing_capabilities if name not in dropped]
        if missing:
            host["CapAdd"] = [*host.get("CapAdd", ()), *missing]
    if not dialect.shares_host_name and host["NetworkMode"].startswith("container:"):
        host["UTSMode"] = host["NetworkMode"]
    if dialect.limits_processes:
        host.setdefault("PidsLimit", UNLIMITED)
    if dialect.unmask_option and host.get("MaskedPaths") == []:
        host["SecurityOpt"] = [*host.get("SecurityOpt", ()), dialect.unmask_option]
    return {**body, "HostConfig": host}


def dialect_of(version: Mapping[str, Any]) -> Dialect:
    """Return the dialect of the engine whose answer to ``/version`` this is."""
    for component in version.get("Components") or ():
        if dialect := _BY_COMPONENT.get(component.get("Name", "")):
            return dialect
    return DOCKER
