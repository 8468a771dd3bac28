"""What a sealed snapshot holds, and that it can hold nothing else."""

import gzip
import io
import tarfile
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import pytest

from kubelite.backup.contents import LAYOUT, About, pack, unpack
from kubelite.backup.sealed import CannotOpen, Sealer

WORDS = "a passphrase of a test"
ABOUT = About(LAYOUT, "0.1.0", "alpha", "2026-01-02T03:04:05+00:00")


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _packed(folder: Path) -> bytes:
    pki = folder / "pki"
    pki.mkdir()
    (folder / "store").write_bytes(b"the store" * 1000)
    for name in ("ca.key", "ca.crt", "service-account.key", "apiserver.pem", "notes.txt"):
        (pki / name).write_text(name)
    (folder / "key").write_bytes(b"the key")
    target = io.BytesIO()
    pack(folder / "store", pki, folder / "key", ABOUT, target, WORDS)
    return target.getvalue()


def _sealed(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    target = io.BytesIO()
    sealer = Sealer(target, WORDS)
    with (
        gzip.GzipFile(fileobj=cast("BinaryIO", sealer), mode="wb") as squeezed,
        tarfile.open(fileobj=cast("BinaryIO", squeezed), mode="w|") as archive,
    ):
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    sealer.finish()
    return io.BytesIO(target.getvalue())


def _file(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def test_authorities_and_the_store_come_back_and_certificates_do_not(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    opened = unpack(io.BytesIO(_packed(tmp_path / "from")), tmp_path / "to", WORDS)
    assert opened.about == ABOUT
    found = _tree(tmp_path / "to")
    assert found.pop("about.json") == msgspec.json.encode(ABOUT)
    assert found == {
        "data.mdb": b"the store" * 1000,
        "secrets.key": b"the key",
        "pki/ca.key": b"ca.key",
        "pki/ca.crt": b"ca.crt",
        "pki/service-account.key": b"service-account.key",
    }
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "to").rglob("*")} == {0}


ABOUT_FILE = _file("about.json", msgspec.json.encode(ABOUT))


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/outside", "pki/../../outside", "pki/new.key", "pki", "x/data.mdb", ""],
)
def test_no_file_is_written_by_a_name_of_the_archive(tmp_path: Path, name: str) -> None:
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    with pytest.raises(CannotOpen):
        unpack(_sealed(ABOUT_FILE, _file(name), _file("data.mdb")), place, WORDS)
    assert set(_tree(tmp_path)) == {"a/b/about.json"}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_only_regular_files_are_taken(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("data.mdb")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(CannotOpen, match="no regular file"):
        unpack(_sealed(ABOUT_FILE, (member, b"")), tmp_path, WORDS)
    assert not (tmp_path / "data.mdb").exists()


@pytest.mark.parametrize(
    "members",
    [
        (),
        (ABOUT_FILE,),
        (_file("data.mdb"),),
        (_file("about.json", b"{"), _file("data.mdb")),
        (
            _file("about.json", msgspec.json.encode(msgspec.structs.replace(ABOUT, layout=2))),
            _file("data.mdb"),
        ),
        (ABOUT_FILE, _file("secrets.key", bytes((1 << 20) + 1)), _file("data.mdb")),
        (ABOUT_FILE, _file("data.mdb"), _file("data.mdb")),
    ],
)
def test_an_archive_with_something_missing_or_too_much_is_refused(
    tmp_path: Path, members: tuple[tuple[tarfile.TarInfo, bytes], ...]
) -> None:
    with pytest.raises((CannotOpen, FileExistsError)):
        unpack(_sealed(*members), tmp_path, WORDS)


@pytest.mark.parametrize("cut", [1, 100, 500])
def test_what_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    whole = _packed(tmp_path / "from")
    with pytest.raises(CannotOpen):
        unpack(io.BytesIO(whole[:-cut]), tmp_path / "to", WORDS)
