"""What containerd keeps of a pull, and until when."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from kubelite.grpc.hpack import Header
from kubelite.grpc.method import Method
from kubelite.node.cri import messages as cri
from kubelite.node.cri.calls import Unsupported
from kubelite.node.cri.pull_lease import EXPIRY_LABEL, PullLeases
from kubelite.node.runtime import EngineUnavailable, ImagePullFailed, RuntimeFailure

IMAGE = "docker.io/library/a:1"
NAMESPACE = ("containerd-namespace", "k8s.io")


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


class Calls:
    """An engine that notes what it is asked, and may refuse to make a lease."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.made: list[cri.CreateLease] = []
        self.ended: list[str] = []
        self._refusal = refusal

    async def __call__(
        self, method: Method[Any, Any], request: Any, *, metadata: Sequence[Header]
    ) -> cri.Nothing:
        assert list(metadata) == [NAMESPACE]
        if method == cri.CREATE_LEASE:
            self.made.append(request)
            if self._refusal is not None:
                raise self._refusal
        else:
            assert method == cri.DELETE_LEASE
            self.ended.append(request.id)
        return cri.Nothing()


def leases(calls: Calls) -> PullLeases:
    return PullLeases(calls, FixedClock())  # type: ignore[arg-type]  # stand in for both


async def pull(calls: Calls, failure: BaseException | None = None) -> Sequence[Header]:
    async with leases(calls).of(IMAGE) as metadata:
        if failure is not None:
            raise failure
    return metadata


async def test_a_pull_has_a_lease_of_a_day_and_ends_it() -> None:
    calls = Calls()
    [(name, lease)] = await pull(calls)
    [made] = calls.made
    assert (name, lease) == ("containerd-lease", made.id)
    assert made.labels == {EXPIRY_LABEL: "2026-01-02T00:00:00Z"}
    assert calls.ended == [made.id]


async def test_a_failed_pull_ends_it_too_so_that_a_full_disk_gets_its_room_back() -> None:
    calls = Calls()
    with pytest.raises(ImagePullFailed):
        await pull(calls, ImagePullFailed("no space left on device"))
    assert len(calls.ended) == 1


@pytest.mark.parametrize("end", [asyncio.CancelledError(), EngineUnavailable("away")])
async def test_a_pull_that_is_cut_off_keeps_it(end: BaseException) -> None:
    calls = Calls()
    kept = leases(calls)
    with pytest.raises(type(end)):
        async with kept.of(IMAGE):
            raise end
    assert calls.ended == []
    assert kept._pulls == {}


async def test_the_next_pull_goes_on_with_what_is_there() -> None:
    first, calls = Calls(), Calls(RuntimeFailure('lease "kubelite-pull-1": already exists'))
    assert await pull(calls) == await pull(first)
    assert calls.ended == first.ended


@pytest.mark.parametrize("refusal", [Unsupported("unknown service"), RuntimeFailure("disk")])
async def test_without_a_lease_an_image_is_pulled_all_the_same(refusal: Exception) -> None:
    calls = Calls(refusal)
    assert await pull(calls) == ()
    assert calls.ended == []


async def test_a_pull_that_fails_leaves_the_lease_to_another_of_the_same_image() -> None:
    """As of two pods with different logins: the wrong one is refused while the other's pull goes on."""
    calls = Calls()
    both = leases(calls)
    async with both.of(IMAGE) as first:
        with pytest.raises(ImagePullFailed):
            async with both.of(IMAGE) as second:
                raise ImagePullFailed("unauthorized")
        assert first == second
        assert calls.ended == []
        async with both.of("docker.io/library/other:1") as third:
            pass
        assert calls.ended == [third[0][1]]
    assert calls.ended == [third[0][1], first[0][1]]


async def test_a_pull_that_begins_while_another_ends_makes_a_lease_anew() -> None:
    calls = Calls()
    both = leases(calls)
    waits, ends = asyncio.Event(), asyncio.Event()

    async def slow(method: Method[Any, Any], request: Any, **rest: Any) -> cri.Nothing:
        if method == cri.DELETE_LEASE:
            ends.set()
            await waits.wait()
        return await calls(method, request, **rest)

    both._calls = slow  # type: ignore[assignment]  # stands in for the calls

    async def whole() -> None:
        async with both.of(IMAGE):
            pass

    first = asyncio.create_task(whole())
    await ends.wait()
    second = asyncio.create_task(whole())
    await asyncio.sleep(0)
    assert len(calls.made) == 1
    waits.set()
    await asyncio.gather(first, second)
    assert (len(calls.made), len(calls.ended)) == (2, 2)
