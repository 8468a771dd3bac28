"""Makes an engine of CRI ready for pods, whether it is kubelite's own or not.

containerd says by its status how it is configured: which image sandboxes have, and where it looks for CNI plugins.
kubelite's plugin is installed there, and its pause image under that image's name, so that no registry is needed.
"""

import asyncio
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from kubelite.node.cni.plugin import CONFIG_FILE, earlier_configs, install_noted
from kubelite.node.pause_image import pause_archive
from kubelite.node.runtime import Image, RuntimeFailure

log = logging.getLogger(__name__)

# Where engines look that do not say it, such as CRI-O.
USUAL_PROGRAMS: Final = Path("/opt/cni/bin")
USUAL_NETWORKS: Final = Path("/etc/cni/net.d")
# The defaults of containerd 2.0 to 2.4, which does not tell its own.
DEFAULT_SANDBOX_IMAGES: Final = tuple(
    f"registry.k8s.io/pause:{version}" for version in ("3.10", "3.10.1", "3.10.2")
)


@runtime_checkable
class EngineStatus(Protocol):
    """A client of an engine that says how it is configured."""

    async def status_info(self) -> Mapping[str, str]:
        """Return the details of its status, each a document in JSON. Raises EngineUnavailable, RuntimeFailure."""
        ...

    async def image(self, reference: str) -> Image | None:
        """Return an image that is on the node."""
        ...

    async def load(self, archive: Path) -> None:
        """Bring in the images of an archive."""
        ...


class Examined(Struct, frozen=True):
    """How an engine is configured."""

    sandbox_image: str = ""  # empty: it does not say
    programs: Path = USUAL_PROGRAMS
    networks: Path = USUAL_NETWORKS


def examine(info: Mapping[str, str]) -> Examined:
    """Return the configuration that the details of a status show; whatever is not there is as usual. Pure."""
    config = _table(info.get("config", ""))
    cni = config.get("cni")
    cni = cni if isinstance(cni, dict) else {}
    folders = cni.get("binDirs")  # of later versions
    first = folders[0] if isinstance(folders, list) and folders else cni.get("binDir")
    image = config.get("sandboxImage")
    return Examined(
        image if isinstance(image, str) else "",
        _folder(first, USUAL_PROGRAMS),
        _folder(cni.get("confDir"), USUAL_NETWORKS),
    )


def _table(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _folder(text: object, usual: Path) -> Path:
    return Path(text) if isinstance(text, str) and text.startswith("/") else usual


async def install_plugin(engine: EngineStatus, agent: Path, plugin_socket: Path) -> None:
    """Put the CNI plugin where an engine looks. Raises OSError, EngineUnavailable, RuntimeFailure."""
    found = examine(await engine.status_info())
    await asyncio.to_thread(install_noted, agent, plugin_socket, found.programs, found.networks)
    if earlier := await asyncio.to_thread(earlier_configs, found.networks):
        # It is the user's network, or a leftover: neither may be removed, and pods would not be reachable.
        raise RuntimeFailure(
            f"the engine uses the network of {found.networks / earlier[0]} instead of {CONFIG_FILE}; "
            "remove that file, or give kubelite an engine of its own"
        )


async def provide_sandbox_image(engine: EngineStatus, architecture: str) -> None:
    """Load the image that an engine makes sandboxes of. Raises OSError, EngineUnavailable, RuntimeFailure."""
    told = examine(await engine.status_info()).sandbox_image
    for name in (told,) if told else DEFAULT_SANDBOX_IMAGES:
        if await engine.image(name) is None:
            await _load_sandbox_image(engine, name, architecture)
            log.info("sandbox image loaded", extra={"image": name})


async def _load_sandbox_image(engine: EngineStatus, name: str, architecture: str) -> None:
    archive = pause_archive(architecture, name)
    with tempfile.NamedTemporaryFile(prefix="kubelite-pause-", suffix=".tar") as file:
        file.write(archive)
        file.flush()
        await engine.load(Path(file.name))
