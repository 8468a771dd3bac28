"""The images of an engine of the Container Runtime Interface."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kubelite.grpc.hpack import Header
from kubelite.node.cri import messages as cri
from kubelite.node.cri import wire
from kubelite.node.cri.calls import EngineCalls
from kubelite.node.cri.crio import CRIO
from kubelite.node.cri.image_programs import Ctr, ImageProgram, Podman
from kubelite.node.cri.pull_lease import PullLeases
from kubelite.node.docker_wire import is_reference
from kubelite.node.image_files import open_archive
from kubelite.node.image_mounts import folder_of, shown
from kubelite.node.runtime import (
    ContainerNotFound,
    Credentials,
    EngineUnavailable,
    Image,
    ImagePullFailed,
    InvalidImageName,
    Mount,
    RegistryUnavailable,
    RuntimeFailure,
)
from kubelite.node.volumes.tmpfs import bar_programs, mount_overlay, unmount

if TYPE_CHECKING:
    from kubelite.clock import Clock

log = logging.getLogger(__name__)

CONTAINERD: Final = "containerd"  # the name that it gives itself
PULL_SECONDS: Final = 6 * 3600.0  # the caller gives up sooner, or not at all
# What a program has loaded is known within some milliseconds; an image that never is, is not waited for longer.
KNOWN_TRIES, KNOWN_PAUSE_SECONDS = 40, 0.05
_UNREACHABLE: Final = ("dial tcp", "no such host", "i/o timeout", "connection refused", "TLS")


class EngineImages:
    """Reads, fetches, loads and removes images."""

    def __init__(
        self,
        calls: EngineCalls,
        socket: Path,
        engine: Callable[[], Awaitable[str]],
        clock: "Clock",
    ) -> None:
        """`engine` returns the name that the engine gives itself."""
        self._leases = PullLeases(calls, clock)
        self._calls = calls
        self._socket = socket
        self._engine = engine
        self._showing = asyncio.Lock()

    async def all(self) -> list[Image]:
        """Return the images on the node."""
        found = await self._calls(cri.LIST_IMAGES, cri.Nothing())
        return [wire.image_of(image) for image in found.images]

    async def find(self, reference: str) -> Image | None:
        """Return an image that is on the node by name, digest or id; raises InvalidImageName."""
        found = await self.details(reference)
        return None if found.image is None else wire.image_of(found.image, found.info)

    async def details(self, reference: str) -> cri.ImageStatusResponse:
        """Return the verbose status of an image; raises InvalidImageName."""
        if not is_reference(reference):
            raise invalid_name(reference)
        spec = wire.image_spec(reference, is_crio=await self._is_crio())
        return await self._calls(cri.IMAGE_STATUS, cri.ImageStatusRequest(spec, True))

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        """Fetch an image; raises ImagePullFailed, RegistryUnavailable or InvalidImageName."""
        if not is_reference(reference):
            raise invalid_name(reference)
        spec = cri.ImageSpec(wire.full_name(reference))
        request = cri.PullImageRequest(spec, wire.auth_of(credentials))
        try:
            async with self._kept(spec.image) as metadata:
                await self._calls(cri.PULL_IMAGE, request, PULL_SECONDS, metadata)
        except ContainerNotFound as error:
            raise ImagePullFailed(f"rpc error: code = NotFound desc = {error}") from error
        except EngineUnavailable:
            raise
        except RuntimeFailure as error:
            raise pull_failure(str(error)) from error
        image = await self.find(reference)
        if image is None:
            raise ImagePullFailed(f"image {reference} is not there after it was pulled")
        return image

    @asynccontextmanager
    async def _kept(self, image: str) -> AsyncGenerator[Sequence[Header], None]:
        """Give the metadata of a pull by which an engine keeps what it has fetched, though kubelite ends meanwhile."""
        if await self._engine() != CONTAINERD:
            yield ()
            return
        async with self._leases.of(image) as metadata:
            yield metadata

    async def load(self, archive: Path) -> None:
        """Bring in the images of an archive, a regular file; raises OSError.

        The interface has no call for it, so a program of the host does it.
        """
        open_archive(archive).close()  # says what is wrong with the file
        program = await self._program()
        if not isinstance(program, Ctr):
            await program.load(archive)
            return
        before = await program.targets()
        await program.load(archive)
        await self._until_known(program, before)

    async def _until_known(self, program: Ctr, before: Mapping[str, str]) -> None:
        """Wait until the interface shows the images that containerd has got since it had those of `before`.

        The interface keeps a list of its own, which it changes some time after each event of containerd's list. It
        tells of no change; what can be seen is that it names the image by its id, too, and then answers for the name.
        """
        unknown: list[str] = []
        for _ in range(KNOWN_TRIES):
            targets = await program.targets()
            ids = {digest: name for name, digest in targets.items() if name.startswith(wire.DIGEST)}
            changed = targets.items() - before.items()
            unknown = [
                name
                for name, digest in changed
                if not name.startswith(wire.DIGEST)
                and not await self._is_known(name, ids.get(digest))
            ]
            if not unknown:
                return
            await asyncio.sleep(KNOWN_PAUSE_SECONDS)
        # As of an image for another architecture, which the interface never shows.
        log.warning("the engine does not show an image that was loaded", extra={"images": unknown})

    async def _is_known(self, name: str, image_id: str | None) -> bool:
        try:
            image = await self.find(name) if image_id else None
        except InvalidImageName:  # as the interface sees it; it will not be asked for
            return True
        return image is not None and image.id == image_id

    async def show(self, mount: Mount, snapshotter: str) -> Mount:
        """Mount an image in the folder `mount.source`, once; return the mount of what a container sees of it.

        For engines whose interface does not mount images. The layers stay as long as the image is there.
        Raises RuntimeFailure.
        """
        folder = folder_of(mount)
        async with self._showing:  # two containers that start at once may mount the same
            if not await asyncio.to_thread(_is_shown, folder):
                empty = await asyncio.to_thread(os.open, folder, os.O_PATH | os.O_DIRECTORY)
                chosen = [f"--snapshotter={snapshotter}"] if snapshotter else []
                line = ["mount", *chosen, mount.image, str(folder)]
                try:
                    await Ctr(self._socket)(*line, what="show an image as a volume")
                    await asyncio.to_thread(_restrict, folder, empty)
                finally:
                    os.close(empty)
        return await asyncio.to_thread(shown, mount)

    async def named(self, mount: Mount) -> Mount:
        """Return the mount of an image with the image's name. Raises RuntimeFailure if it is not there."""
        found = await self.find(mount.image)
        if found is None or not found.names:
            raise RuntimeFailure(f"No such image: {mount.image}")
        return replace(mount, image_name=found.names[-1])

    async def tag(self, image_id: str, name: str) -> None:
        """Give an image that is on the node another name, with a tag; the image that had the name loses it."""
        found = await self.find(image_id)
        if found is None:
            raise ContainerNotFound(f"No such image: {image_id}")
        source = next((one for one in found.names if "@" not in one), found.id)
        await (await self._program()).tag(source, wire.full_name(name))

    async def _program(self) -> ImageProgram:
        return Podman(self._socket) if await self._is_crio() else Ctr(self._socket)

    async def _is_crio(self) -> bool:
        return await self._engine() == CRIO

    async def folder(self) -> Path | None:
        """Return the folder of the filesystem of images; None if this host does not have it."""
        found = await self._calls(cri.IMAGE_FILESYSTEMS, cri.Nothing())
        folders = [Path(one.place.mountpoint) for one in found.images if one.place is not None]
        if not folders or not await asyncio.to_thread(folders[0].is_dir):
            return None
        return folders[0]

    async def remove(self, image_id: str) -> None:
        """Delete an image with all its names; harmless if there is none."""
        spec = wire.image_spec(image_id, is_crio=await self._is_crio())
        await self._calls(cri.REMOVE_IMAGE, cri.RemoveImageRequest(spec))


def _is_shown(folder: Path) -> bool:
    """Return whether something is mounted at a folder, which is made if it is absent."""
    try:
        folder.mkdir(exist_ok=True)
        return folder.is_mount()
    except OSError as error:
        raise RuntimeFailure(f"cannot show an image as a volume: {error.strerror}") from error


def _restrict(folder: Path, empty: int) -> None:
    """Let nothing be written to or run from an image that is mounted at a folder; `empty` is the folder below.

    runc since 1.2 drops the flags of what it mounts in a container, and an image of one layer is the engine's own
    folder of it. An overlay without an upper folder is read-only by itself.
    """
    try:
        bar_programs(folder)
        top = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            # One more than the kernel stacks if the image is an overlay on one; but then it is read-only as it is.
            with suppress(OSError):
                mount_overlay(folder, [f"/proc/self/fd/{top}", f"/proc/self/fd/{empty}"])
        finally:
            os.close(top)
    except OSError as error:
        with suppress(OSError):
            unmount(folder)
        raise RuntimeFailure(f"cannot show an image as a volume: {error.strerror}") from error


def invalid_name(reference: str) -> InvalidImageName:
    """Return the refusal of a text that names no image."""
    return InvalidImageName(
        f'Failed to apply default image tag "{reference}": couldn\'t parse image name '
        f'"{reference}": invalid reference format'
    )


def pull_failure(text: str) -> ImagePullFailed:
    """Return what a failed pull means, by the engine's words."""
    message = f"rpc error: code = Unknown desc = {text}"
    if "failed to parse image reference" in text or "invalid reference format" in text:
        return InvalidImageName(message)
    if any(part in text for part in _UNREACHABLE):
        return RegistryUnavailable(message)
    return ImagePullFailed(message)
