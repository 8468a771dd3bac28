"""Reads the settings of a CRI-O, which it tells by HTTP at the socket of its interface."""

import http.client
import json
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kubelite.node.runtime import RuntimeFailure

CRIO: Final = "cri-o"  # the name that it gives itself
CONFIG_SECONDS: Final = 10.0
CONFIG_BYTES_MAX: Final = 1 << 20


class UnknownConfig(RuntimeFailure):
    """CRI-O does not tell its settings; `str()` has the reason."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CONFIG_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONFIG_SECONDS)
        self.sock.connect(str(self._path))


def read_config(path: Path) -> dict[str, Any]:
    """Return CRI-O's settings. Blocking; raises UnknownConfig."""
    try:
        return tomllib.loads(_get(path, "/config").decode())
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise UnknownConfig(f"CRI-O does not tell its settings: {error}") from error


def _get(path: Path, resource: str) -> bytes:
    connection = _UnixConnection(path)
    try:
        connection.request("GET", resource)
        answer = connection.getresponse()
        text = answer.read(CONFIG_BYTES_MAX + 1)
    finally:
        connection.close()
    if answer.status != http.client.OK or len(text) > CONFIG_BYTES_MAX:
        raise ValueError(f"status {answer.status}, {len(text)} bytes")
    return text


def with_folders(info: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, str]:
    """Return the details of a status with the folders of the CNI, as containerd's status has them. Pure."""
    crio = config.get("crio")
    network = crio.get("network") if isinstance(crio, dict) else None
    network = network if isinstance(network, dict) else {}
    try:
        told = json.loads(info.get("config", "{}"))
    except (ValueError, RecursionError):
        told = {}
    told = told if isinstance(told, dict) else {}
    cni = {"confDir": network.get("network_dir"), "binDirs": network.get("plugin_dirs")}
    return {**info, "config": json.dumps({**told, "cni": cni})}
