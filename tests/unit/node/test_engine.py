"""An engine of our own: its log, its end."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubelite.limits import ENGINE_LOG
from kubelite.node import engine as engines
from kubelite.node.engine import EngineFolders, cut_log, stop_engine


def test_a_log_is_cut_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ENGINE_LOG, "value", 100)
    path = tmp_path / "docker.log"
    cut_log(path)
    assert not path.exists()
    with path.open("ab", buffering=0) as engine:  # it keeps the file open
        engine.write(b"a" * 100)
        cut_log(path)
        assert path.read_bytes() == b"a" * 100
        engine.write(b"b" * 30)
        cut_log(path)
        engine.write(b"c" * 10)
        assert path.read_bytes() == b"c" * 10
        assert (tmp_path / "docker.log.1").read_bytes() == b"a" * 20 + b"b" * 30
        engine.write(b"d" * 200)
        cut_log(path)
    assert path.read_bytes() == b""
    assert (tmp_path / "docker.log.1").read_bytes() == b"d" * 50


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that say a line once they run, and read input until they are ended."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(started: list[subprocess.Popen[str]], before: str, *arguments: str) -> int:
    code = f"import signal, sys; {before}; print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    return process.pid


def folders_with(pid: int, folder: Path) -> EngineFolders:
    folders = EngineFolders(folder / "data", folder / "run")
    folders.run.mkdir()
    (folders.run / "docker.pid").write_text(f"{pid}\n")
    return folders


async def test_only_the_engine_is_terminated(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    await stop_engine(EngineFolders(tmp_path / "data", tmp_path / "run"))  # it has never run
    folders = folders_with(start(started, "pass", "--data-root=/of/another"), tmp_path)
    await stop_engine(folders)  # the number of the engine is another process's by now
    assert started[0].poll() is None
    ours = start(started, "pass", f"--data-root={folders.data}")
    (folders.run / "docker.pid").write_text(str(ours))
    await stop_engine(folders)
    assert started[1].wait() == -15


async def test_an_engine_that_does_not_end_is_an_error(
    tmp_path: Path, started: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "STOP_SECONDS", 0)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    folders = folders_with(start(started, deaf, f"--data-root={tmp_path}/data"), tmp_path)
    with pytest.raises(TimeoutError):
        await stop_engine(folders)
