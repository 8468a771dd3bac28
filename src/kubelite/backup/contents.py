"""What a sealed snapshot holds beside the store: the cluster's authorities, and the keys of its Secrets.

Inside the seal is a compressed tar archive of a few files with fixed names. Nothing is extracted by the archive's own
names: each name is looked up here, so an archive cannot write anywhere else.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

import msgspec
from msgspec import Struct

from kubelite.api.auth.pki import CA, FRONT_PROXY_CA, SERVICE_ACCOUNT
from kubelite.api.auth.secret_files import make_folder, write_file
from kubelite.backup.sealed import CannotOpen, Opener, Sealer

ABOUT: Final = "about.json"
STORE: Final = "data.mdb"
SECRETS_KEY: Final = "secrets.key"
# Serving and client certificates are not among them: they are made anew for the host they are on.
AUTHORITY_FILES: Final = (
    *(f"{name}{end}" for name in (CA, FRONT_PROXY_CA) for end in (".crt", ".key", ".next.key")),
    f"{CA}-cross.crt",
    f"{FRONT_PROXY_CA}-cross.crt",
    f"{SERVICE_ACCOUNT}.key",
)
KEY_FILE_BYTES_MAX: Final = 1 << 20
LAYOUT: Final = 1
COMPRESSION: Final = 3  # JSON shrinks to a fifth at some 60 MB/s
PIECE_BYTES: Final = 1 << 20


class About(Struct, frozen=True):
    """What a sealed snapshot says about itself."""

    layout: int
    version: str  # of kubelite
    node: str  # of the server
    date: str  # RFC 3339


def pack(
    store: Path, pki: Path, secrets_key: Path, about: About, target: BinaryIO, passphrase: str
) -> None:
    """Seal a store's file with the keys of its cluster into `target`. Blocks; raises OSError."""
    sealer = Sealer(target, passphrase)
    with (
        gzip.GzipFile(
            fileobj=cast("BinaryIO", sealer), mode="wb", compresslevel=COMPRESSION, mtime=0
        ) as squeezed,
        tarfile.open(fileobj=cast("BinaryIO", squeezed), mode="w|", bufsize=PIECE_BYTES) as archive,
    ):
        _add_bytes(archive, ABOUT, msgspec.json.encode(about))
        for name in AUTHORITY_FILES:
            if (pki / name).is_file():
                _add_bytes(archive, f"pki/{name}", (pki / name).read_bytes())
        if secrets_key.is_file():
            _add_bytes(archive, SECRETS_KEY, secrets_key.read_bytes())
        with store.open("rb") as file:
            archive.addfile(_member(STORE, store.stat().st_size), file)
    sealer.finish()


class Unpacked(Struct, frozen=True):
    """The files of a sealed snapshot in a folder."""

    about: About
    store: Path
    pki: Path  # a folder; empty if the snapshot has no keys
    secrets_key: Path  # need not exist


def unpack(source: BinaryIO, folder: Path, passphrase: str) -> Unpacked:
    """Open a sealed snapshot into an empty folder; all of it is authentic afterwards.

    Blocks; raises CannotOpen, OSError.
    """
    opener = Opener(source, passphrase)
    pki = folder / "pki"
    make_folder(pki)
    places = {
        ABOUT: folder / ABOUT,
        SECRETS_KEY: folder / SECRETS_KEY,
        **{f"pki/{name}": pki / name for name in AUTHORITY_FILES},
    }
    try:
        with tarfile.open(
            fileobj=cast("BinaryIO", opener), mode="r|gz", bufsize=PIECE_BYTES
        ) as archive:
            for member, content in _files(archive):
                if member.name == STORE:
                    _copy(content, folder / STORE)
                elif member.name in places and member.size <= KEY_FILE_BYTES_MAX:
                    write_file(places[member.name], content.read())
                else:
                    raise CannotOpen(f'it holds "{member.name}", which this version does not know')
        opener.finish()
        about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
    except (
        tarfile.TarError,
        zlib.error,
        EOFError,
        msgspec.MsgspecError,
        FileNotFoundError,
    ) as error:
        raise CannotOpen(f"it is damaged ({error})") from error
    if about.layout != LAYOUT or not (folder / STORE).is_file():
        raise CannotOpen(f"it has layout {about.layout}, this version knows {LAYOUT}")
    return Unpacked(about, folder / STORE, pki, folder / SECRETS_KEY)


def _files(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    for member in archive:
        content = archive.extractfile(member) if member.isreg() else None
        if content is None:
            raise CannotOpen(f'"{member.name}" in it is no regular file')
        yield member, cast("BinaryIO", content)


def _copy(content: BinaryIO, target: Path) -> None:
    with target.open("xb") as file:
        target.chmod(0o600)
        while piece := content.read(PIECE_BYTES):
            file.write(piece)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), io.BytesIO(content))


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o600
    return member
