"""The image of `examples/hello`, made from the machine's own static busybox when no registry has it.

It answers HTTP on port 8080 with the name of its pod, and has the usual small tools for a look around.
"""

import asyncio
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kubelite.node.image_archive import Entry, image_archive

if TYPE_CHECKING:
    from kubelite.node.runtime import ContainerRuntime

NAME = "kubelite.local/hello:1"
BUSYBOX = Path("/bin/busybox")

# The shell stays process 1, since the kernel does not let a signal end a process 1 that does not handle it.
SCRIPT = b"""#!/bin/sh
mkdir -p /www
hostname > /www/index.html
echo "$(hostname) answers on port 8080"
httpd -f -p 8080 -h /www &
trap 'kill $!; exit 0' TERM INT
wait
"""


class BusyboxMissing(Exception):
    """There is no static busybox on the machine to make the image from."""


def hello_archive(architecture: str, busybox: Path = BUSYBOX) -> bytes:
    """Build the image; blocking. Raises BusyboxMissing."""
    try:
        program = busybox.read_bytes()
        listed = subprocess.run(  # noqa: S603 - the machine's own busybox, no user input
            [busybox, "--list"], capture_output=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BusyboxMissing(f"cannot make image {NAME}: {error}") from error
    entries = {folder: Entry(is_folder=True) for folder in ("bin", "etc", "tmp", "www")}
    entries["tmp"] = Entry(is_folder=True, mode=0o1777)
    entries["bin/busybox"] = Entry(program)
    for applet in listed.stdout.decode().split():
        if applet != "busybox":
            entries[f"bin/{applet}"] = Entry(link="busybox")
    entries["etc/passwd"] = Entry(b"root:x:0:0:root:/:/bin/sh\n", 0o644)
    entries["etc/group"] = Entry(b"root:x:0:\n", 0o644)
    entries["hello"] = Entry(SCRIPT)
    return image_archive(
        NAME,
        entries,
        architecture=architecture,
        entrypoint=["/hello"],
        environment=["PATH=/bin"],
        ports=["8080/tcp"],
    )


async def provide_hello(runtime: "ContainerRuntime", architecture: str) -> bool:
    """Load the image unless the engine has it; return whether it was loaded. Raises BusyboxMissing."""
    if await runtime.image(NAME) is not None:
        return False
    await runtime.load(await asyncio.to_thread(hello_archive, architecture))
    return True
