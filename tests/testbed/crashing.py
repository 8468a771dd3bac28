"""Runs kubelite and kills it, as kill -9 does, at a call that a file names: `python crashing.py FILE server ...`.

The file holds the name of a call, as below, and `before` or `after`; it is removed with the kill, so the next start
goes on until another one is written.
"""

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = {
    "runtime": (
        ("kubelite.node.cri.runtime", "CriRuntime"),
        ("kubelite.node.docker", "DockerRuntime"),
    ),
    "network": (("kubelite.net.pod_network", "PodNetwork"),),
    "volumes": (("kubelite.node.volumes.host", "HostVolumes"),),
    "devices": (("kubelite.node.devices.manager", "DeviceManager"),),
    "status": (("kubelite.node.status_writer", "StatusWriter"),),
}
METHODS = {
    "runtime": ("run_sandbox", "create", "start", "signal", "remove", "_create_sandbox"),
    "network": ("attach", "detach", "_connect", "_set_up_pod_end"),
    "volumes": ("set_up", "mounts", "tear_down"),
    "devices": ("allocate", "release"),
    "status": ("_write",),
}


def _killing(call: Callable[..., Any], name: str, file: Path) -> Callable[..., Any]:
    def die(moment: str) -> None:
        try:
            wanted = file.read_text()
        except FileNotFoundError:
            return
        if wanted == f"{name} {moment}":
            file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    if not asyncio.iscoroutinefunction(call):

        @functools.wraps(call)
        def at_once(*arguments: Any, **named: Any) -> Any:
            die("before")
            result = call(*arguments, **named)
            die("after")
            return result

        return at_once

    @functools.wraps(call)
    async def later(*arguments: Any, **named: Any) -> Any:
        die("before")
        result = await call(*arguments, **named)
        die("after")
        return result

    return later


def main() -> None:
    """Run kubelite with the arguments after the file."""
    file = Path(sys.argv.pop(1))
    for kind, places in CALLS.items():
        for module, name in places:
            owner = getattr(__import__(module, fromlist=[name]), name)
            for method in METHODS[kind]:
                if (call := getattr(owner, method, None)) is not None:
                    setattr(owner, method, _killing(call, f"{kind}.{method}", file))
    from kubelite.cli import main as kubelite

    sys.exit(kubelite())


if __name__ == "__main__":
    main()
