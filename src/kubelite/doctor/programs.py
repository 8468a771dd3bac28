"""The programs and libraries that kubelite calls, and their versions."""

import asyncio
import ctypes
import re
import shutil
from collections.abc import Iterator, Sequence

from msgspec import Struct

from kubelite.doctor.findings import Finding, error, note, ok
from kubelite.doctor.wanted import Wanted
from kubelite.spawn import ProgramFailed, run_program

VERSION_SECONDS = 3.0
LINE_CHARACTERS_MAX = 80
MINOR = 36  # of the Kubernetes that is served
VERSION_FLAGS = {
    "nft": "--version",
    "iptables": "--version",
    "runc": "--version",
    "containerd": "--version",
    "dockerd": "--version",
    "kubectl": "version --client",
}


class Programs(Struct, frozen=True):
    """What is installed: the version of each program that is there, "" if it does not tell."""

    versions: dict[str, str]
    has_libnftables: bool


def judge(programs: Programs, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about programs."""
    found = programs.versions
    if wanted.has_node:
        if not programs.has_libnftables and "nft" not in found:
            yield error(
                "neither libnftables nor nft is installed",
                "the rules of Services are made with one of them",
                "install libnftables1 (on Debian; elsewhere nftables)",
            )
        elif not programs.has_libnftables:
            yield note(
                "libnftables is not installed, nft is",
                "each change of rules starts a process",
                "install libnftables1 (on Debian; elsewhere nftables)",
            )
        if "iptables" not in found and "dockerd" in found:
            yield note(
                "iptables is not installed",
                "Docker drops what pods send unless it is told not to, which takes iptables",
                "install iptables",
            )
    if "kubectl" not in found:
        yield note(
            "kubectl is not installed",
            "kubelite has none built in",
            "see https://kubernetes.io/docs/tasks/tools/, any version from 1.35 to 1.37 will do",
        )
    elif (minor := _minor(found["kubectl"])) is not None and abs(minor - MINOR) > 1:
        yield note(
            f"kubectl is of version 1.{minor}",
            f"it is for servers of 1.{minor - 1} to 1.{minor + 1}, and this one is of 1.{MINOR}",
            f"install 1.{MINOR}; most commands work all the same",
        )
    for name, version in found.items():
        yield ok(f"{name}: {version or 'installed'}")


def _minor(version: str) -> int | None:
    match = re.search(r"\bv1\.(\d{1,3})\b", version)
    return int(match[1]) if match else None


def gather(_: Wanted) -> Programs:
    """Find the programs, and ask each for its version."""
    present = [name for name in VERSION_FLAGS if shutil.which(name)]
    return Programs(asyncio.run(_versions(present)), _has_libnftables())


def _has_libnftables() -> bool:
    from kubelite.net.nftables import LIBRARIES

    try:
        return any(ctypes.CDLL(name) for name in LIBRARIES)
    except OSError:
        return False


async def _versions(names: Sequence[str]) -> dict[str, str]:
    answers = await asyncio.gather(*map(_version, names))
    return dict(zip(names, answers, strict=True))


async def _version(name: str) -> str:
    line = (name, *VERSION_FLAGS[name].split())
    try:
        done = await run_program(line, timeout_seconds=VERSION_SECONDS)
    except ProgramFailed:
        return ""
    text = done.output.decode(errors="replace").strip()
    return " ".join(text.partition("\n")[0].split())[:LINE_CHARACTERS_MAX]
