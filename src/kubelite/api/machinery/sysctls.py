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
    """Return whether a text has the form of a sysctl's name, with dots or slashes."""
    return len(text) <= NAME_LENGTH_MAX and _NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Return whether a text is a sysctl's name, or a prefix followed by ``*``."""
    return len(text) <= NAME_LENGTH_MAX and _PATTERN.fullmatch(text) is not None


def normalized(name: str) -> str:
    """Return a name with dots between its parts: ``net/ipv4/conf/eth0.1/x`` is ``net.ipv4.conf.eth0/1.x``."""
    first = next((sign for sign in name if sign in "./"), "")
    return name.translate(_SWAP) if first == "/" else name


def namespace_of(name: str) -> Namespace:
    """Return the kernel namespace of a normalized name; "" if none is known for it."""
    if name in _IPC or name.startswith("fs.mqueue."):
        return "IPC"
    return "Net" if name.startswith("net.") else ""
