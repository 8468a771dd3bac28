"""Writes the image of this example as an archive, for machines without a registry: ``image.py FILE``.

It is made from the machine's own static busybox, answers HTTP on port 8080 with the name of its pod, and has the usual
small tools for a look around. `kubelite server` loads the archives it finds in `agent/images` of its data folder.
"""

import platform
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from kubelite.node.image_archive import ArchiveEntry, image_archive

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
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
        listed = subprocess.run([busybox, "--list"], capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        raise BusyboxMissing(f"cannot make image {NAME}: {error}") from error
    entries = {folder: ArchiveEntry(is_folder=True) for folder in ("bin", "etc", "tmp", "www")}
    entries["tmp"] = ArchiveEntry(is_folder=True, mode=0o1777)
    entries["bin/busybox"] = ArchiveEntry(program)
    for applet in listed.stdout.decode().split():
        if applet != "busybox":
            entries[f"bin/{applet}"] = ArchiveEntry(link="busybox")
    entries["etc/passwd"] = ArchiveEntry(b"root:x:0:0:root:/:/bin/sh\n", 0o644)
    entries["etc/group"] = ArchiveEntry(b"root:x:0:\n", 0o644)
    entries["hello"] = ArchiveEntry(SCRIPT)
    return image_archive(
        NAME,
        entries,
        architecture=architecture,
        entrypoint=["/hello"],
        environment=["PATH=/bin"],
        ports=["8080/tcp"],
    )


def main() -> None:
    """Write the archive; a machine without a static busybox gets one line and exit code 1."""
    target = Path(sys.argv[1])
    try:
        archive = hello_archive(ARCHITECTURES[platform.machine()])
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.write_bytes(archive)
    except (BusyboxMissing, OSError) as error:
        sys.exit(f"cannot write {target}: {error}")


if __name__ == "__main__":
    main()
