"""The settings by which a node's container engine is chosen, spelt as the kubelet and k3s spell them."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from kubelite.image_config import ImageConfig
from kubelite.settings import Setting, unusable

OWN_ENGINES = ("docker", "containerd")  # what --container-runtime-endpoint may name instead
_TWO_ENGINES = "--container-runtime-endpoint is given too"
_NO_ENDPOINT = "must be unix:///FILE, docker or containerd"


class WantedEngine(NamedTuple):
    """A container engine that a user names; see `node.engine_choice`."""

    socket: Path | None = None
    dialect: Literal["docker", "cri"] | None = None
    own: str = ""  # one of OWN_ENGINES


class EngineConfig(ImageConfig, frozen=True, kw_only=True):
    """A part of the configuration of every node."""

    container_runtime_endpoint: Annotated[
        str,
        Setting(
            "Socket of the container engine: containerd, CRI-O, Docker or Podman; or docker or containerd to start one "
            "(default: one that answers, or start one)",
            "unix:///FILE",
        ),
    ] = ""
    docker_socket: Annotated[str, Setting("The same for an engine with Docker's API", "FILE")] = ""

    @property
    def wanted_engine(self) -> WantedEngine:
        """The container engine that is named, if one is."""
        if self.docker_socket:
            return WantedEngine(Path(self.docker_socket), "docker")
        path = self.container_runtime_endpoint.removeprefix("unix://")
        if path.startswith("/"):
            return WantedEngine(Path(path))
        return WantedEngine(own=self.container_runtime_endpoint)


def check_engine(config: EngineConfig) -> None:
    """Raise InvalidConfig unless the settings name one engine or none."""
    endpoint = config.container_runtime_endpoint
    if endpoint and config.docker_socket:
        raise unusable("docker_socket", config.docker_socket, _TWO_ENGINES)
    if config.wanted_engine.own not in ("", *OWN_ENGINES):
        raise unusable("container_runtime_endpoint", endpoint, _NO_ENDPOINT)
