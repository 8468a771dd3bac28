"""Connects to a container engine in the API that it speaks; the code of the other one is not imported."""

from pathlib import Path
from typing import TYPE_CHECKING

from kubelite.node.engine_choice import Engine
from kubelite.node.log_policy import LOGS_BY_DEFAULT, LogPolicy
from kubelite.node.profiles import Profiles
from kubelite.node.runtime import ContainerRuntime

if TYPE_CHECKING:
    from kubelite.clock import Clock
    from kubelite.node.container_owner import ContainerOwner
    from kubelite.offload import Offload


def connect(
    engine: Engine,
    owner: "ContainerOwner",
    architecture: str,
    clock: "Clock",
    profiles: Profiles | None = None,
    *,
    logs: Path = Path("/var/log"),
    log_policy: LogPolicy = LOGS_BY_DEFAULT,
    offload: "Offload | None" = None,
) -> ContainerRuntime:
    """Return the client of an engine, which need not answer yet; `logs` is the host's folder for logs."""
    if engine.dialect == "docker":
        from kubelite.node.docker import DockerRuntime

        return DockerRuntime(engine.socket, owner, architecture, clock, profiles, log_policy)
    from kubelite.node.cri.runtime import CriRuntime

    return CriRuntime(engine.socket, owner, clock, profiles, logs=logs, offload=offload)
