"""Looking for what applies rules."""

import ctypes
import shutil

import pytest

from kubelite.net.nftables import Nftables, RulesUnavailable


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
