"""Lists, watches and what happens when they fail."""

from collections.abc import AsyncGenerator

import msgspec
import pytest

from kubelite.api.client.availability import Availability
from kubelite.api.client.mirror import ObjectMirror
from kubelite.api.client.reflector import DELAY_SECONDS_MAX, Reflector, list_all
from kubelite.api.errors import APIError, Expired, ServiceUnavailable
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.randomness import SeededRandomness


def item(name: str, version: int) -> dict[str, object]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def event(kind: str, name: str, version: int) -> bytes:
    return msgspec.json.encode({"type": kind, "object": item(name, version)})


class Script:
    """Answers what the test wrote down."""

    def __init__(self) -> None:
        self.pages: list[bytes | APIError] = []
        self.watches: list[list[bytes] | APIError] = []
        self.asked: list[tuple[int, str]] = []
        self.watched: list[str] = []
        self.closed = 0

    def lists(self, version: int, *names: str, token: str = "") -> None:
        metadata = {"resourceVersion": str(version), "continue": token}
        items = [item(name, version) for name in names]
        self.pages.append(msgspec.json.encode({"metadata": metadata, "items": items}))

    async def page(self, limit: int, continue_token: str) -> bytes:
        self.asked.append((limit, continue_token))
        answer = self.pages.pop(0)
        if isinstance(answer, APIError):
            raise answer
        return answer

    async def watch(
        self, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[bytes, None]:
        self.watched.append(resource_version)
        answer = self.watches.pop(0)
        if isinstance(answer, APIError):
            raise answer
        try:
            for line in answer:
                yield line
        finally:
            self.closed += 1


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def mirror() -> ObjectMirror[ConfigMap]:
    return ObjectMirror()


@pytest.fixture
def reflector(script: Script, mirror: ObjectMirror[ConfigMap]) -> Reflector[ConfigMap]:
    return Reflector(script, ConfigMap, mirror, SeededRandomness(1))


def names(mirror: ObjectMirror[ConfigMap]) -> list[str]:
    return [one.metadata.name for one in mirror.list()]


async def test_pages_are_joined(script: Script) -> None:
    script.lists(5, "a", token="t1")
    script.lists(5, "b")
    items, version = await list_all(script)
    assert (len(items), version) == (2, "5")
    assert script.asked == [(500, ""), (500, "t1")]


async def test_an_expired_page_is_asked_for_in_one_piece(script: Script) -> None:
    script.lists(5, "a", token="t1")
    script.pages.append(Expired("gone"))
    script.lists(9, "a", "b")
    items, version = await list_all(script)
    assert (len(items), version) == (2, "9")
    assert script.asked[-1] == (0, "")


async def test_events_move_the_mirror_and_its_version(
    script: Script, mirror: ObjectMirror[ConfigMap], reflector: Reflector[ConfigMap]
) -> None:
    script.lists(5, "a")
    script.watches.append(
        [event("ADDED", "b", 6), event("DELETED", "a", 7), event("BOOKMARK", "", 9), b""]
    )
    await reflector.step()
    assert names(mirror) == ["b"]
    script.watches.append([])
    await reflector.step()
    assert script.watched == ["5", "9"]  # a watch that ends is resumed, not listed again


async def test_a_lost_past_is_told_as_expired(
    script: Script, reflector: Reflector[ConfigMap]
) -> None:
    script.lists(5)
    error = Expired("too old").status()
    script.watches.append([msgspec.json.encode({"type": "ERROR", "object": error})])
    with pytest.raises(Expired):
        await reflector.step()
    assert script.closed == 1  # the connection does not wait for the garbage collector


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []

    async def pause(_: Availability, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(Availability, "pause", pause)
    return waited


async def test_a_server_that_ends_each_watch_at_once_is_not_hammered(
    script: Script, reflector: Reflector[ConfigMap], delays: list[float]
) -> None:
    script.lists(5)
    script.watches += [[], [], [event("BOOKMARK", "", 6)], []]
    with pytest.raises(IndexError):
        await reflector.run()
    assert len(delays) == 3
    assert 0.8 <= delays[0] < delays[1]
    assert delays[2] < 1.6  # something was heard: it begins anew


async def test_run_lists_again_when_the_past_is_lost(
    script: Script,
    mirror: ObjectMirror[ConfigMap],
    reflector: Reflector[ConfigMap],
    delays: list[float],
) -> None:
    script.lists(5, "a")
    script.watches.append(Expired("too old"))
    script.lists(8, "b")
    with pytest.raises(IndexError):  # the script is at its end
        await reflector.run()
    assert names(mirror) == ["b"]
    assert len(delays) == 1


async def test_failures_wait_longer_each_time(
    script: Script, reflector: Reflector[ConfigMap]
) -> None:
    script.pages.append(ServiceUnavailable("down"))
    with pytest.raises(ServiceUnavailable):
        await reflector.step()
    delays = [reflector.next_delay() for _ in range(8)]
    assert 0.8 <= delays[0] <= 1.6
    assert delays[1] > delays[0]
    assert max(delays) <= 2 * DELAY_SECONDS_MAX
