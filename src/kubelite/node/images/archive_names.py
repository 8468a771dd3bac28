"""The names of the images in an archive, in the form of Docker or of OCI. Blocking: call it in a thread."""

import tarfile
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from kubelite.node.image_files import open_archive
from kubelite.node.images.names import full_name

INDEX_BYTES = 1 << 20  # an archive with a larger list of its images tells no names
ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class _DockerImage(Struct):
    tags: list[str] | None = msgspec.field(name="RepoTags", default=None)


class _OciImage(Struct):
    annotations: dict[str, str] = {}


class _OciIndex(Struct):
    manifests: list[_OciImage] = []


def names_in_archive(path: Path) -> frozenset[str]:
    """Return the whole names of the images in an archive; empty if it cannot be read."""
    names: set[str] = set()
    with (
        suppress(OSError, ValueError, tarfile.TarError, RecursionError),
        open_archive(path) as opened,
        tarfile.open(fileobj=opened, mode="r:") as archive,
    ):
        for member in archive:
            if member.name in ("manifest.json", "index.json") and 0 < member.size <= INDEX_BYTES:
                content = archive.extractfile(member)
                names.update(_names(member.name, content.read() if content is not None else b""))
    return frozenset(full_name(name) for name in names)


def _names(file: str, text: bytes) -> list[str]:
    if file == "manifest.json":
        return [
            tag
            for image in msgspec.json.decode(text, type=list[_DockerImage])
            for tag in image.tags or ()
        ]
    index = msgspec.json.decode(text, type=_OciIndex)
    return [
        one.annotations[key]
        for one in index.manifests
        for key in ANNOTATIONS
        if key in one.annotations
    ]
