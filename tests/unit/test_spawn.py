"""Programs that end early, late, loudly or not at all."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from kubelite import limits
from kubelite.spawn import (
    Conversation,
    Finished,
    ProgramFailed,
    ProgramMissing,
    ProgramTooLoud,
    ProgramTooSlow,
    run_program,
    start_detached,
)


async def shell(script: str, stdin: bytes = b"", timeout_seconds: float = 20.0) -> Finished:
    return await run_program(
        ("/bin/sh", "-c", script), stdin=stdin, timeout_seconds=timeout_seconds
    )


async def test_output_errors_and_exit_code_are_told_apart() -> None:
    assert await shell("cat; echo bad >&2; exit 3", b"in") == Finished(3, b"in", b"bad\n")
    assert await shell("kill -9 $$") == Finished(-9, b"", b"")


async def test_input_larger_than_a_pipe_flows_both_ways() -> None:
    data = os.urandom(3_000_000)
    assert (await shell("cat", data)).output == data


async def test_a_program_that_ends_without_reading_its_input_is_no_error() -> None:
    for _ in range(20):  # a race: the child may end before, during or after the first write
        assert (await shell("exit 4", b"x" * 1_000_000)).code == 4


async def test_a_missing_program_says_so() -> None:
    with pytest.raises(ProgramMissing, match="cannot run nothing: No such file or directory"):
        await run_program(("/absent/nothing",), timeout_seconds=5.0)


async def test_a_slow_program_is_killed_with_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $! $$ > {pids}; wait"
    with pytest.raises(ProgramTooSlow, match=r"sh did not end within 0.3 s"):
        await shell(script, timeout_seconds=0.3)
    for pid in pids.read_text().split():
        assert await is_gone(int(pid))


async def test_what_a_program_leaves_behind_is_not_waited_for() -> None:
    finished = await shell("sleep 1000 & echo $!", timeout_seconds=20.0)
    assert await is_gone(int(finished.output))


async def test_a_cancelled_call_kills_the_program(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    running = asyncio.ensure_future(shell(f"echo $$ > {pid_file}; exec sleep 1000"))
    while not (pid_file.exists() and pid_file.read_text().strip()):
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await is_gone(int(pid_file.read_text()))


async def test_output_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.PROGRAM_OUTPUT, "value", 100_000)
    before = limits.PROGRAM_OUTPUT.times_reached
    with pytest.raises(ProgramTooLoud, match="sh wrote more than 100000 bytes"):
        await shell("yes")
    assert limits.PROGRAM_OUTPUT.times_reached == before + 1


async def test_no_descriptor_is_left_open() -> None:
    await shell("exit 0")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for script in ("exit 0", "cat", "sleep 1000"):
        try:
            await shell(script, b"x", timeout_seconds=0.2)
        except ProgramFailed:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_the_loop_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start itself happens in a thread, too."""
    starters: list[threading.Thread] = []
    start = subprocess.Popen

    def noted(*arguments: Any, **options: Any) -> Any:
        starters.append(threading.current_thread())
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", noted)
    await shell("exit 0")
    assert starters
    assert threading.main_thread() not in starters


async def test_a_detached_program_has_a_session_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "import os; print(os.getsid(0) == os.getpid())"
    pid = start_detached((sys.executable, "-c", script), log)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert status == 0
    assert log.read_text() == "True\n"
    assert log.stat().st_mode & 0o777 == 0o600


async def is_gone(pid: int) -> bool:
    """Wait until a process has ended: a killed one takes a moment."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        await asyncio.sleep(0.01)
    return False


def conversation(script: str, timeout_seconds: float = 20.0) -> Conversation:
    return Conversation(("/bin/sh", "-c", script), timeout_seconds=timeout_seconds)


async def test_a_conversation_goes_on_line_by_line_until_it_is_closed() -> None:
    talk = conversation("while IFS= read -r line; do printf '%s\\n' \"$line\"; done")
    for size in (1, 200_000, 2):  # more than a pipe holds
        line = b"x" * size + b"\n"
        assert talk.ask(line) == line
    talk.close()
    assert await is_gone(talk._process.pid)


def test_a_conversation_partner_that_ends_is_slow_or_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.PROGRAM_OUTPUT, "value", 100_000)
    cases = (
        ("exit 0", ProgramFailed, "sh ended"),
        ("read x; exit 1", ProgramFailed, "sh ended"),
        ("exec sleep 1000", ProgramTooSlow, "sh did not end within 0.5 s"),
        ("read x; exec tr '\\0' x </dev/zero", ProgramTooLoud, "wrote more than 100000 bytes"),
    )
    for script, kind, message in cases:
        talk = conversation(script, timeout_seconds=0.5 if kind is ProgramTooSlow else 20.0)
        with pytest.raises(kind, match=message):
            talk.ask(b"x\n")
        talk.close()
    with pytest.raises(ProgramMissing, match="cannot run nothing"):
        Conversation(("/absent/nothing",), timeout_seconds=1.0)
