"""Commands of probes, whose output and end the container decides."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from kubelite.api.kinds.core.containers import Container, Probe
from kubelite.api.kinds.core.pods import Pod
from kubelite.limits import EXEC_PROBE_OUTPUT
from kubelite.node.probes import NetworkProber, Outcome, Target
from kubelite.node.runtime import ContainerRuntime

PIECE = b"x" * 4096


class Talker:
    """A process that says `pieces` and then, if it `stays`, keeps its output open."""

    def __init__(self, pieces: int, *, stays: bool = False) -> None:
        self.left = pieces
        self.stays = stays
        self.closed = False

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> "Talker":
        return self

    async def read(self) -> tuple[str, bytes] | None:
        if self.left:
            self.left -= 1
            return "stdout", PIECE
        if self.stays:
            await asyncio.Event().wait()
        return None

    async def exit_code(self) -> int:
        return 0

    async def close(self) -> None:
        self.closed = True


async def probed(talker: Talker) -> Outcome:
    target = Target(Pod(), Container(name="c"), "id", "10.42.0.2")
    body: dict[str, Any] = {"exec": {"command": ["talk"]}, "timeoutSeconds": 1}
    prober = NetworkProber(cast(ContainerRuntime, talker))
    return await prober.probe(target, msgspec.convert(body, Probe))


async def test_the_output_of_a_command_is_cut() -> None:
    talker = Talker(1000)
    outcome = await probed(talker)
    assert outcome.healthy
    assert len(outcome.message) == EXEC_PROBE_OUTPUT.value
    assert talker.closed


async def test_a_child_that_keeps_the_output_open_keeps_nothing_here() -> None:
    talker = Talker(1, stays=True)
    outcome = await probed(talker)
    assert not outcome.healthy
    assert outcome.message == 'command timed out: "talk" timed out after 1s'
    assert talker.closed
