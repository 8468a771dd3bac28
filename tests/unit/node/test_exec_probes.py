"""Commands of probes, whose output and end the container decides."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest

from kubelite.api.kinds.core.containers import Container, LifecycleHandler, Probe
from kubelite.api.kinds.core.pods import Pod
from kubelite.limits import EXEC_PROBE_OUTPUT
from kubelite.node.probes import NetworkProber, Outcome, ProbeTarget
from kubelite.node.runtime import ContainerRuntime, RuntimeFailure
from unit.node.cluster import run_virtually

PIECE = b"x" * 4096


class Talker:
    """A process that says `pieces` and then, if it `stays`, keeps its output open."""

    def __init__(self, pieces: int, *, stays: bool = False) -> None:
        self.left = pieces
        self.stays = stays
        self.closed = False
        self.killed = False

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

    def kill(self) -> None:
        self.killed = True


async def probed(talker: Talker) -> Outcome:
    target = ProbeTarget(Pod(), Container(name="c"), "id", "10.42.0.2")
    body: dict[str, Any] = {"exec": {"command": ["talk"]}, "timeoutSeconds": 1}
    prober = NetworkProber(cast(ContainerRuntime, talker))
    return await prober.probe(target, msgspec.convert(body, Probe))


async def test_the_output_of_a_command_is_cut() -> None:
    talker = Talker(1000)
    outcome = await probed(talker)
    assert outcome.healthy
    assert len(outcome.message) == EXEC_PROBE_OUTPUT.value
    assert talker.closed
    assert not talker.killed


async def test_a_child_that_keeps_the_output_open_keeps_nothing_here() -> None:
    talker = Talker(1, stays=True)
    outcome = await probed(talker)
    assert not outcome.healthy
    assert outcome.message == 'command timed out: "talk" timed out after 1s'
    assert talker.closed
    assert talker.killed


async def test_a_command_that_the_engine_could_not_start_fails_with_its_words() -> None:
    class Refused(Talker):
        async def exit_code(self) -> int:
            raise RuntimeFailure('exec: "talk": executable file not found in $PATH')

    talker = Refused(0)
    outcome = await probed(talker)
    assert not outcome.healthy
    assert "not found in $PATH" in outcome.message
    assert talker.closed


async def test_a_hook_that_is_given_up_is_killed() -> None:
    talker = Talker(1, stays=True)
    target = ProbeTarget(Pod(), Container(name="c"), "id", "10.42.0.2")
    handler = msgspec.convert({"exec": {"command": ["talk"]}}, LifecycleHandler)
    hook = asyncio.ensure_future(
        NetworkProber(cast(ContainerRuntime, talker)).hook(target, handler)
    )
    await asyncio.sleep(0)
    hook.cancel()
    await asyncio.gather(hook, return_exceptions=True)
    assert talker.killed


@pytest.mark.parametrize(("given", "seconds"), [({}, 1), ({"timeoutSeconds": 7}, 7)])
@pytest.mark.parametrize("kind", ["exec", "httpGet", "tcpSocket", "grpc"])
def test_each_kind_of_probe_has_its_timeout(
    monkeypatch: pytest.MonkeyPatch, kind: str, given: dict[str, int], seconds: int
) -> None:
    """In virtual time: nothing that is asked ever answers."""

    async def silent(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    actions: dict[str, Any] = {
        "exec": {"command": ["talk"]},
        "httpGet": {"port": 1},
        "tcpSocket": {"port": 1},
        "grpc": {"port": 1},
    }
    monkeypatch.setattr(asyncio, "open_connection", silent)
    outcomes = []

    async def story() -> None:
        prober = NetworkProber(cast(ContainerRuntime, Talker(0, stays=True)))
        target = ProbeTarget(Pod(), Container(name="c"), "id", "10.42.0.2")
        probe = msgspec.convert({kind: actions[kind], **given}, Probe)
        outcomes.append(await prober.probe(target, probe))
        assert asyncio.get_running_loop().time() == seconds

    run_virtually(story())
    (outcome,) = outcomes
    assert not outcome.healthy
