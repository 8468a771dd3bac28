"""Whether this host lets a test attach loop devices."""

import os
import tempfile
from pathlib import Path

import pytest

from kubelite.node.volumes.loop_devices import CONTROL, attach, detach


def _can_attach() -> bool:
    """Return whether a device can be attached: a container may have the control file and no devices."""
    if os.geteuid() != 0 or not os.access(CONTROL, os.W_OK):
        return False
    mark = f"kubelite-probe-{os.getpid()}"
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(1 << 20)
        try:
            attach(Path(file.name), mark)
            detach(mark)
        except OSError:
            return False
    return True


needs_loop_devices = pytest.mark.skipif(not _can_attach(), reason="attaches loop devices")
