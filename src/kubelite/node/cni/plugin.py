"""The files by which a container engine calls the pod network: the plugin, its `loopback` and the configuration.

The engine runs the plugin three times for each pod, so it starts without the site module and imports built-in modules
only: some 12 ms instead of 40. It passes all on to kubelite's socket. Without an answer from there ADD fails as one to
be tried again, but DEL succeeds: an engine never removes a sandbox whose DEL fails, and kubelite frees the address of
a sandbox that is gone by itself.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from kubelite.node.cni.messages import (
    NOT_AVAILABLE,
    TRY_AGAIN,
    VARIABLES,
    VERSIONS,
    encode_failure,
    encode_success,
)
from kubelite.node.replaced_file import replace_file

log = logging.getLogger(__name__)

NAME: Final = "kubelite"
LOOPBACK: Final = "loopback"
NOTED_FILE: Final = "cni.json"  # in the agent's part of the data folder
CONFIG_FILE: Final = "10-kubelite.conflist"  # before those that other packages install
INTERPRETER_LINE_MAX = 120  # older kernels take 127 bytes of a file's first line
ADD_SECONDS, OTHER_SECONDS = 100.0, 10.0

_PLUGIN = """\
{start}
# Made by kubelite at each start; see docs/operations.md.
import posix
from _socket import socket

environment = posix.environ
command = environment.get(b"CNI_COMMAND", b"")


def read_all(read):
    pieces = []
    while piece := read(65536):
        pieces.append(piece)
    return b"".join(pieces)


answer = {own!r}.get(command, b"")
if not answer:
    given = read_all(lambda size: posix.read(0, size))
    try:
        connection = socket(1, 1)
        connection.settimeout({add_seconds} if command == b"ADD" else {other_seconds})
        connection.connect({socket!r})
        for name in {names!r}:
            connection.sendall(environment.get(name, b"") + b"\\0")
        connection.sendall(given)
        connection.shutdown(1)
        answer = read_all(connection.recv)
    except OSError:
        answer = b""
answer = answer or {without_answer!r}.get(command) or {otherwise!r}
posix.write(1, answer[1:])
posix._exit(answer[:1] != b"0")
"""

# The network's own plugin brings the interface up, which an engine of CRI expects of a plugin with this name.
_LOOPBACK = """\
#!/bin/sh
# Made by kubelite, whose plugin brings the interface lo of a pod up.
echo '{}'
"""


def plugin_source(socket: Path, interpreter: str) -> str:
    """Return the plugin's file, which passes calls on to `socket`. Pure."""
    silent = "kubelite does not answer"
    own = {
        b"VERSION": encode_success({"cniVersion": VERSIONS[-1], "supportedVersions": VERSIONS}),
    }
    without_answer = {
        b"DEL": encode_success(),
        b"GC": encode_success(),
        b"STATUS": encode_failure(NOT_AVAILABLE, silent),
    }
    return _PLUGIN.format(
        start=_start(interpreter),
        own=own,
        names=tuple(name.encode() for name in VARIABLES),
        add_seconds=ADD_SECONDS,
        other_seconds=OTHER_SECONDS,
        socket=os.fsencode(socket),
        without_answer=without_answer,
        otherwise=encode_failure(TRY_AGAIN, silent),
    )


def _start(interpreter: str) -> str:
    line = f"#!{interpreter} -IS"
    if len(os.fsencode(line)) <= INTERPRETER_LINE_MAX and not any(map(str.isspace, interpreter)):
        return line
    # The kernel splits the line at blanks and cuts it. The shell runs the second line, which is a text for Python.
    quoted = interpreter.replace("'", "'\"'\"'")
    return f"#!/bin/sh\n'''exec' '{quoted}' -IS \"$0\"\n' '''"


def config_text() -> str:
    """Return the network configuration that names the plugin. Pure."""
    # Engines that know only `cniVersion` get one that all of them have; the others also ask for the STATUS.
    config = {
        "cniVersion": "1.0.0",
        "cniVersions": ["1.0.0", "1.1.0"],
        "name": NAME,
        "plugins": [{"type": NAME}],
    }
    return json.dumps(config, indent=2) + "\n"


def install(socket: Path, programs: Path, configs: Path) -> None:
    """Write the plugin, a `loopback` where there is none, and last the configuration. Blocking; raises OSError."""
    for folder in (programs, configs):
        folder.mkdir(parents=True, exist_ok=True)
    interpreter = os.path.realpath(sys.executable)  # that of a virtual environment may go with it
    replace_file(programs / NAME, plugin_source(socket, interpreter), 0o755)
    if not (programs / LOOPBACK).exists():
        replace_file(programs / LOOPBACK, _LOOPBACK, 0o755)
    replace_file(configs / CONFIG_FILE, config_text())


class _Places(Struct):
    programs: str
    configs: str


def install_noted(agent: Path, socket: Path, programs: Path, configs: Path) -> None:
    """Install into folders of another's engine, and note them for `remove_noted`. Blocking; raises OSError."""
    places = _Places(str(programs), str(configs))
    noted = _noted(agent)
    if places not in noted:
        written = agent / f"{NOTED_FILE}.new"
        written.write_bytes(msgspec.json.encode([*noted, places]))
        written.replace(agent / NOTED_FILE)
    install(socket, programs, configs)


def remove_noted(agent: Path) -> None:
    """Remove what `install_noted` has installed for a data folder's agent part. Blocking; raises OSError."""
    for places in _noted(agent):
        remove(Path(places.programs), Path(places.configs))
    (agent / NOTED_FILE).unlink(missing_ok=True)


def _noted(agent: Path) -> list[_Places]:
    try:
        return msgspec.json.decode((agent / NOTED_FILE).read_bytes(), type=list[_Places])
    except FileNotFoundError:
        return []
    except ValueError as error:
        log.warning("cannot read where the CNI plugin is", extra={"reason": str(error)})
        return []


def remove(programs: Path, configs: Path) -> None:
    """Remove what `install` has written, and leave what others have. Blocking; raises OSError."""
    ours = [programs / NAME, configs / CONFIG_FILE]
    if _reads(programs / LOOPBACK) == _LOOPBACK:
        ours.append(programs / LOOPBACK)
    for path in ours:
        path.unlink(missing_ok=True)


def earlier_configs(configs: Path) -> list[str]:
    """Return the names of configurations that an engine takes instead of kubelite's. Blocking."""
    return sorted(name for name in _config_names(configs) if name < CONFIG_FILE)


def _config_names(configs: Path) -> Iterator[str]:
    try:
        yield from (
            entry.name
            for entry in configs.iterdir()
            if entry.suffix in (".conf", ".conflist", ".json")
        )
    except OSError:
        return


def _reads(path: Path) -> str:
    try:
        return path.read_text(errors="replace") if path.is_file() else ""
    except OSError:
        return ""
