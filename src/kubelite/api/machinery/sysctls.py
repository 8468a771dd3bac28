"""Names of kernel parameters, and the kernel namespace that each belongs to. Source: sysctl.d(5), namespaces(7)."""

import re
from typing import Literal

Namespace = Literal["IPC", "Net", ""]

NAME_LENGTH_MAX = 253
NAME_FORMAT = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
PATTERN_FORMAT = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*([a-z0-9][-_a-z0-9]*)?[a-z0-9*]$"
_NAME = re.compile(NAME_FORMAT.removesuffix("$"), re.ASCII)
_PATTERN = re.compile(PATTERN_FORMAT.removesuffix("$"), re.ASCII)
_SWAP = str.maketrans("./", "/.")
_IPC = frozenset(
    {
        "kernel.msg",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shm",
        "kernel.shm_rmid_forced",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
    }
)


def is_name(text: str) -> bool:
    """Return whether a text can name a sysctl, with dots or slashes."""
    return len(text) <= NAME_LENGTH_MAX and _NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Return whether a text names a sysctl, or with ``*`` at its end all that begin with it."""
    return len(text) <= NAME_LENGTH_MAX and _PATTERN.fullmatch(text) is not None


def normalized(name: str) -> str:
    """Spell a name with dots between its parts: ``net/ipv4/conf/eth0.1/x`` is ``net.ipv4.conf.eth0/1.x``."""
    first = next((sign for sign in name if sign in "./"), "")
    return name.translate(_SWAP) if first == "/" else name


def namespace_of(name: str) -> Namespace:
    """Return the namespace of a normalized name; empty when the kernel is not known to have one for it."""
    if name in _IPC or name.startswith("fs.mqueue."):
        return "IPC"
    return "Net" if name.startswith("net.") else ""
