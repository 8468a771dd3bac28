"""Network namespaces of pods, by the files that stand for them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWN_NAMESPACE = Path("/proc/thread-self/ns/net")


@contextmanager
def opened_namespace(path: str) -> Iterator[int]:
    """Open a network namespace that is not the host's own, whose link and routes would be replaced. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if os.path.samestat(os.fstat(descriptor), OWN_NAMESPACE.stat()):
            raise OSError(errno.EINVAL, f"{path} is the network namespace of the host")
        yield descriptor
    finally:
        os.close(descriptor)
