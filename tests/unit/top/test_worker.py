"""What keeps a node from starting, in one line."""

import errno
from pathlib import Path

import pytest

from kubelite.config import Config
from kubelite.prerequisites import CannotStart
from kubelite.worker import node_failures


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "cannot write to /d/agent: No space left on device",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/d/agent/x"),
            "cannot use /d/agent/x: Read-only file system",
        ),
        (
            OSError(errno.EADDRINUSE, "error while attempting to bind"),
            "cannot listen on 0.0.0.0:10250: Address already in use; see --kubelet-port",
        ),
    ],
)
def test_a_failure_says_what_cannot_be_used(error: OSError, line: str) -> None:
    config = Config(data_dir=str(Path("/d")))
    with pytest.raises(CannotStart) as caught, node_failures(config):
        raise error
    assert str(caught.value) == line
