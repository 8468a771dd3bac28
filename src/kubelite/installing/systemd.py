"""The systemd unit of a server or an agent: text from values, and the arguments back from the text."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubelite.installing.program import Program
from kubelite.installing.refusal import NotInstallable

FOLDER: Final = Path("/etc/systemd/system")
CACHE: Final = "kubelite"  # below /var/cache, for a program that unpacks itself
CACHE_FOLDER: Final = Path("/var/cache") / CACHE
IDENTIFIER: Final = "kubelite"  # of its lines in the journal, where an engine's have the engine's
OPEN_FILES = 1_048_576
WATCHDOG_SECONDS = (
    180  # the loop is never held for a second, but a machine may be that short of memory
)
RESTART_SECONDS = 5
STOP_SECONDS = 30  # the process gives up after 5
_BARE: Final = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_EXEC: Final = re.compile(r"^ExecStart=((?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)
_UNIT: Final = """\
[Unit]
Description={description}
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target time-sync.target docker.service containerd.service crio.service podman.socket
{conflicts}
[Install]
WantedBy=multi-user.target

[Service]
Type=notify
NotifyAccess={access}
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-{environment}
{unpacking}ExecStart={command}
# Pods, and an engine that kubelite started, outlive it.
KillMode=process
Delegate=yes
User=root
SyslogIdentifier={identifier}
LimitNOFILE={files}
LimitNPROC=infinity
TasksMax=infinity
OOMScoreAdjust=-999
# A start may wait for the clock, or for the server to join.
TimeoutStartSec=infinity
TimeoutStopSec={stop}s
WatchdogSec={watchdog}s
Restart=always
RestartSec={restart}s
"""


def unit_text(kind: str, program: Program, flags: Sequence[str], environment: Path) -> str:
    """Return the unit of a `server` or an `agent`. Raises NotInstallable for a path that a unit cannot hold."""
    first = program.arguments[0]
    if "$" in first or any(not character.isprintable() for character in first):
        raise NotInstallable(f"cannot install {first!r}: a systemd unit cannot start such a path")
    words = [_quoted(first, is_program=True), *map(_quoted, (*program.arguments[1:], kind))]
    lines = [" ".join(words), *map(_quoted, flags)]
    other = {"server": "kubelite-agent", "agent": "kubelite"}[kind]
    return _UNIT.format(
        description=f"kubelite, {DESCRIPTIONS[kind]}",
        conflicts=f"Conflicts={other}.service\n",
        access="all" if program.forks else "main",
        environment=environment,
        unpacking=_UNPACKING if program.unpacks else _UNPACKING_EACH_TIME if program.forks else "",
        command=" \\\n    ".join(lines),
        files=OPEN_FILES,
        stop=STOP_SECONDS,
        watchdog=WATCHDOG_SECONDS,
        restart=RESTART_SECONDS,
        identifier=IDENTIFIER,
    )


DESCRIPTIONS: Final = {
    "server": "a Kubernetes cluster in one process",
    "agent": "a worker of a Kubernetes cluster",
}
_UNPACKING: Final = f"CacheDirectory={CACHE}\nEnvironment=SHIV_ROOT=%C/{CACHE}\n"
_UNPACKING_EACH_TIME: Final = f"""\
CacheDirectory={CACHE}
Environment=TMPDIR=%C/{CACHE}
# Left by one that was killed.
ExecStartPre=-/bin/sh -c 'rm -rf %C/{CACHE}/_MEI*'
"""


def _quoted(word: str, *, is_program: bool = False) -> str:
    """Quote one word of ExecStart=, in which $ names variables and % the unit's properties."""
    if _BARE.fullmatch(word):
        return word
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text if is_program else text.replace("$", "$$")}"'


def read_command(unit: str) -> Sequence[str]:
    """Return the words of ExecStart= of a unit that `unit_text` has made; empty if there are none."""
    found = _EXEC.search(unit)
    if found is None:
        return ()
    try:
        words = shlex.split(found[1].replace("\\\n", " "))
    except ValueError:  # somebody has changed it
        return ()
    return tuple(word.replace("$$", "$").replace("%%", "%") for word in words)


def flags_of(command: Sequence[str], kind: str) -> Sequence[str]:
    """Return the flags in the words of ExecStart=, which follow the first word that is `kind`."""
    return tuple(command[command.index(kind) + 1 :]) if kind in command else ()
