"""Writes the image of this example as an archive, for machines without a registry: ``image.py FILE``.

`kubelite server` loads the archives it finds in the folder `agent/images` of its data folder.
"""

import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from kubelite.node.hello_image import BusyboxMissing, hello_archive

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


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
