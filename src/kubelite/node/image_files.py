"""Opens the files of images that an engine is given. Blocking."""

import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_archive(path: Path) -> BinaryIO:
    """Open an image archive for reading; raises OSError, also if it is not a regular file."""
    # Opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")
