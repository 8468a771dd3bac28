"""The OpenRC script of a server or an agent."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubelite.installing.program import Program
from kubelite.installing.systemd import DESCRIPTIONS, OPEN_FILES, RESTART_SECONDS, STOP_SECONDS

FOLDER: Final = Path("/etc/init.d")
ENVIRONMENT_FOLDER: Final = Path("/etc/kubelite")
LOG_FOLDER: Final = Path("/var/log")
_SCRIPT: Final = """\
#!/sbin/openrc-run
description={description}
supervisor=supervise-daemon
command={command}
command_args={arguments}
output_log={log}
error_log={log}
pidfile="/run/${{RC_SVCNAME}}.pid"
respawn_delay={restart}
respawn_max=0
retry=TERM/{stop}/KILL/5
rc_ulimit="-n {files} -u unlimited"
rc_cgroup_cleanup=no

depend() {{
    need net
    use dns clock
    after firewall docker containerd crio podman
}}

start_pre() {{
    checkpath --file --owner root:root --mode 0600 {log}
}}

set -o allexport
if [ -f {environment} ]; then . {environment}; fi
{unpacking}set +o allexport
"""


def script_text(
    kind: str, program: Program, flags: Sequence[str], environment: Path, log: Path
) -> str:
    """Return the script of a `server` or an `agent`."""
    words = (*program.arguments[1:], kind, *flags)
    return _SCRIPT.format(
        description=shlex.quote(f"kubelite, {DESCRIPTIONS[kind]}"),
        command=shlex.quote(program.arguments[0]),
        # OpenRC gives them to `eval`, so that each word is quoted for that, and all for this script.
        arguments=shlex.quote(shlex.join(words)),
        log=shlex.quote(str(log)),
        restart=RESTART_SECONDS,
        stop=STOP_SECONDS,
        files=OPEN_FILES,
        environment=shlex.quote(str(environment)),
        unpacking="SHIV_ROOT=/var/cache/kubelite\n" if program.unpacks else "",
    )


def read_command(script: str) -> Sequence[str]:
    """Return the words of the command of a script that `script_text` has made; empty if there are none."""
    found = {}
    for line in script.splitlines():
        name, equals, value = line.partition("=")
        if equals and name in ("command", "command_args"):
            try:
                found[name] = shlex.split(value)
            except ValueError:
                return ()
    if len(found) < 2:
        return ()
    return (*found["command"], *shlex.split(" ".join(found["command_args"])))
