"""Builds container images as archives that `docker load` takes; the same input gives the same bytes. Pure.

Only the standard library is used, so that examples can make images without anything installed.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class ArchiveEntry(NamedTuple):
    """A file, link or folder of an image."""

    data: bytes = b""
    mode: int = 0o755
    link: str = ""  # where a symbolic link leads
    is_folder: bool = False


def image_archive(
    name: str,
    entries: Mapping[str, ArchiveEntry],
    *,
    architecture: str,
    entrypoint: Sequence[str],
    environment: Sequence[str] = (),
    ports: Sequence[str] = (),
) -> bytes:
    """Return an image of one layer.

    Args:
        name: Repository and tag.
        entries: Files and folders by path without the leading slash.
        architecture: As Go names it: amd64, arm64.
        entrypoint: The command and its arguments.
        environment: Variables as ``NAME=value``.
        ports: Exposed ports, such as ``8080/tcp``.
    """
    layer = _tar(entries)
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Entrypoint": list(entrypoint),
                "Env": list(environment),
                "ExposedPorts": {port: {} for port in ports},
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "kubelite"}],
        }
    )
    config_name = f"{_digest(config)}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "manifest.json": ArchiveEntry(_json(manifest), 0o644),
            config_name: ArchiveEntry(config, 0o644),
            "layer.tar": ArchiveEntry(layer, 0o644),
        }
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tar(entries: Mapping[str, ArchiveEntry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in entries.items():
            member = tarfile.TarInfo(path)
            member.mode = entry.mode
            if entry.is_folder:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            elif entry.link:
                member.type = tarfile.SYMTYPE
                member.linkname = entry.link
                archive.addfile(member)
            else:
                member.size = len(entry.data)
                archive.addfile(member, io.BytesIO(entry.data))
    return buffer.getvalue()
