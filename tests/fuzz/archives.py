"""Fuzz target of image archives: whatever stands in them, they read back as they were meant, and their digests hold."""

import hashlib
import io
import json
import tarfile
from typing import Any

import msgspec

from fuzz.target import Target, pure
from kubelite.node.image_archive import ArchiveEntry, image_archive


def check_archive(data: bytes) -> None:
    """An archive holds what it was given under the names it was given, and is the same each time."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    entries = {
        path: _entry(value)
        for path, value in document.items()
        if path and "\x00" not in path and path == path.strip("/")
    }
    archive = image_archive("x:1", entries, architecture="amd64", entrypoint=["/x", "\n"])
    assert archive == image_archive("x:1", entries, architecture="amd64", entrypoint=["/x", "\n"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        (manifest,) = json.loads(_member(outer, "manifest.json"))
        config = _member(outer, manifest["Config"])
        layer = _member(outer, manifest["Layers"][0])
    assert manifest["Config"] == hashlib.sha256(config).hexdigest() + ".json"
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    assert json.loads(config)["rootfs"]["diff_ids"] == [digest]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        assert inner.getnames() == list(entries)
        for member, entry in zip(inner, entries.values(), strict=True):
            assert member.isdir() == entry.is_folder
            if member.isreg():
                assert (file := inner.extractfile(member)) is not None
                assert file.read() == entry.data


def _entry(value: Any) -> ArchiveEntry:
    if isinstance(value, str):
        return ArchiveEntry(link=value) if value and "\x00" not in value else ArchiveEntry(b"")
    if isinstance(value, list):
        return ArchiveEntry(is_folder=True)
    return ArchiveEntry(json.dumps(value).encode())


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


TARGETS = (Target("archive", pure(check_archive), is_json=True, cost=12),)
