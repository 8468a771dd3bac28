"""The first module of the single-file program, which is its own interpreter.

Beside the command line it runs modules of kubelite in processes of their own, and the CNI plugin.
"""

import ctypes
import fcntl
import os
import runpy
import signal
import sys

RUN_MODULE, RUN_FILE = "--run-module", "-IS"  # as kubelite.own_programs has them
LIBRARIES = "LD_LIBRARY_PATH"
PR_SET_PDEATHSIG = 1
CACHE = (
    "/var/cache/kubelite"  # where a service has it unpack itself, see kubelite.installing.systemd
)


def main() -> None:
    """Run what the arguments say."""
    _give_back_libraries()
    _keep_unpacked_files()
    match sys.argv[1:]:
        case [first, module, *rest] if first == RUN_MODULE:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [first, file, *rest] if first == RUN_FILE:
            sys.argv = [file, *rest]
            runpy.run_path(file, run_name="__main__")
        case _:
            _end_with_parent()
            from kubelite.cli import main as command_line

            command_line(prog_name="kubelite")


def _end_with_parent() -> None:
    """Have the kernel tell this process to end with its parent, which has unpacked it and is all that systemd knows.

    Not in processes that a server starts: the signal comes when the thread ends that has started them.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _give_back_libraries() -> None:
    """Let other programs, such as engines, load the system's libraries, and not those of this program."""
    given = os.environ.pop(f"{LIBRARIES}_ORIG", None)
    os.environ.pop(LIBRARIES, None)
    if given is not None:
        os.environ[LIBRARIES] = given


def _keep_unpacked_files() -> None:
    """Keep systemd-tmpfiles from removing files of a server that has run for long: it skips folders with a lock."""
    unpacked = getattr(sys, "_MEIPASS")  # noqa: B009 - PyInstaller's, which no type checker knows
    folder = os.open(unpacked, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(folder, fcntl.LOCK_SH)
    if os.environ.get("TMPDIR") == CACHE:  # the unit's, and for this alone
        del os.environ["TMPDIR"]


main()
