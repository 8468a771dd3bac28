"""Write the archive of the hello image, for `docker load` or a node's folder of images.

Usage: image.py FILE
"""

import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from kubelite.node.hello_image import hello_archive

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_bytes(hello_archive(ARCHITECTURES[platform.machine()]))
    print(f"{target} written")
