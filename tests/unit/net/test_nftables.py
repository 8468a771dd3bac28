"""Looking for what applies rules."""

import ctypes
import shutil
from pathlib import Path

import pytest

from kubelite.net.nftables import Nftables, RulesRefused, RulesUnavailable


async def test_without_library_and_program_it_says_what_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    nftables = Nftables()
    with pytest.raises(RulesUnavailable, match="needs libnftables or nft"):
        nftables.open()
    await nftables.close()


async def test_the_program_stands_in_for_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/sbin/nft")
    nftables = Nftables()
    nftables.open()
    assert nftables.is_by_program
    await nftables.close()


async def by_program(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Nftables:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(name)

    program = folder / "nft"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))
    nftables = Nftables()
    nftables.open()
    return nftables


async def test_the_program_is_given_the_transaction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nftables = await by_program('echo "$@"; cat', tmp_path, monkeypatch)
    assert await nftables.run("add table ip x\n") == "-f -\nadd table ip x\n"
    assert nftables.running == 0
    await nftables.close()


async def test_a_program_that_refuses_before_it_has_read_all_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nftables = await by_program("echo 'no such table' >&2; exit 1", tmp_path, monkeypatch)
    for _ in range(10):
        with pytest.raises(RulesRefused, match="no such table"):
            await nftables.run("x" * 1_000_000)
    await nftables.close()
