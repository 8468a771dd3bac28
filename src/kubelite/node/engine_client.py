"""Connects to a container engine in the API that it speaks; the code of the other one is not imported."""

from typing import TYPE_CHECKING

from kubelite.node.engine_choice import Engine
from kubelite.node.profiles import Profiles
from kubelite.node.runtime import ContainerRuntime, EngineUnavailable

if TYPE_CHECKING:
    from kubelite.clock import Clock
    from kubelite.node.container_owner import ContainerOwner


def connect(
    engine: Engine,
    owner: "ContainerOwner",
    architecture: str,
    clock: "Clock",
    profiles: Profiles | None = None,
) -> ContainerRuntime:
    """Return the client of an engine, which need not answer yet."""
    if engine.dialect == "docker":
        from kubelite.node.docker import DockerRuntime

        return DockerRuntime(engine.socket, owner, architecture, clock, profiles)
    raise EngineUnavailable(
        f"cannot use {engine.socket}: only engines with Docker's API are spoken to yet"
    )
