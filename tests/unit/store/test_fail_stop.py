"""What happens when an exception falls between a durable batch and its callers."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kubelite.clock import SystemClock
from kubelite.store import embedded, records
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.engine import Batch, EngineFailed
from kubelite.store.history import History
from kubelite.store.index import Index
from kubelite.store.memory_engine import MemoryEngine
from kubelite.store.pending import Pending
from kubelite.store.protocol import Change, Delete, Put, RevisionMismatch, StoreUnavailable

POISON = "/pods/poison"
Break = Callable[[pytest.MonkeyPatch], None]


def _raising(place: type, name: str, *, matters: Callable[..., bool]) -> Break:
    """Return what makes a method raise for calls that concern the poisonous key."""

    def apply(patch: pytest.MonkeyPatch) -> None:
        former = getattr(place, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            if matters(*args, **kwargs):
                raise MemoryError("no memory")
            return former(*args, **kwargs)

        patch.setattr(place, name, method)

    return apply


STEPS = {
    "index": _raising(Index, "put", matters=lambda _, entry: entry.key == POISON),
    "removal": _raising(Index, "remove", matters=lambda _, key: key == "/pods/there"),
    "history": _raising(History, "append", matters=lambda _, record: record.change.key == POISON),
    "pending": _raising(Pending, "settle", matters=lambda _, key, __: key == POISON),
    "publish": _raising(
        EmbeddedStore, "_publish", matters=lambda _, some: any(one.key == POISON for one in some)
    ),
    "waiters": _raising(EmbeddedStore, "_wake_waiters", matters=lambda store: store.get(POISON) is not None),
    "compaction": _raising(EmbeddedStore, "_schedule_compaction", matters=lambda store: store.get(POISON) is not None),
    "batch": _raising(EmbeddedStore, "_batch", matters=lambda _, writes: any(
        record.change.key == POISON for write in writes for record in write.records)),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("at_once", [1, 64])
async def test_all_callers_are_answered_and_no_further_write_is_taken(
    step: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "APPLIED_AT_ONCE", at_once)
    engine = MemoryEngine()
    store = EmbeddedStore(engine, clock=SystemClock())
    reasons: list[str] = []
    store.on_broken(reasons.append)
    await store.commit(Put("/pods/there", b"1"))
    with monkeypatch.context() as patch:
        STEPS[step](patch)
        outcomes: list[bool] = []
        calls = [
            store.commit(Put("/pods/before", b"1"), settled=outcomes.append),
            store.commit(Put(POISON, b"1"), Delete("/pods/there")),
            store.commit(Put("/pods/behind", b"1"), settled=outcomes.append),
            store.commit(
                Put("/pods/behind", b"1", expected=99)
            ),  # waits to see what it collided with
        ]
        async with asyncio.timeout(5):
            done = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(done[1], StoreUnavailable) or step in ("waiters", "compaction")
    assert all(isinstance(one, int | StoreUnavailable | RevisionMismatch) for one in done)
    assert len(outcomes) == 2
    assert store.problem == "cannot write: the index may differ from the disk after a MemoryError"
    assert reasons == [store.problem]
    durable = engine.revision()
    with pytest.raises(StoreUnavailable, match="may differ"):
        await store.commit(Put("/pods/later", b"1"))
    assert engine.revision() == durable
    # What the disk has is what the next start finds.
    again = EmbeddedStore(engine, clock=SystemClock())
    assert (again.revision, again.get("/pods/later")) == (durable, None)
    for outcome, key in ((done[0], "/pods/before"), (done[2], "/pods/behind")):
        assert again.get(key) is not None or not isinstance(outcome, int)
    await store.close()


class SilentEngine(MemoryEngine):
    """Fails amid a commit, and then in a way no engine should."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Exception] = []
        self.fails = False

    def write(self, batch: Batch) -> None:
        super().write(batch)
        if self.fails:
            raise EngineFailed("EIO")

    def revision(self) -> int:
        if self.answers:
            raise self.answers.pop(0)
        return super().revision()


async def test_an_engine_that_does_not_know_its_revision_for_an_unknown_reason() -> None:
    engine = SilentEngine()
    store = EmbeddedStore(engine, clock=SystemClock())
    engine.fails, engine.answers = True, [ValueError("odd")]
    with pytest.raises(StoreUnavailable, match="after a ValueError"):
        await store.commit(Put("/pods/a", b"1"))
    assert "ValueError" in store.problem
    await store.close()


async def test_a_batch_in_doubt_that_cannot_be_made_visible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = SilentEngine()
    store = EmbeddedStore(engine, clock=SystemClock())
    engine.fails, engine.answers = True, [EngineFailed("EIO")]
    with pytest.raises(StoreUnavailable, match="EIO"):
        await store.commit(Put(POISON, b"1"))
    engine.fails = False
    STEPS["index"](monkeypatch)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="after a MemoryError"):
            await store.commit(Put("/pods/b", b"1"))
    assert engine.revision() == 1
    await store.close()


async def test_a_listener_that_raises_is_alone_with_it() -> None:
    store = EmbeddedStore(MemoryEngine(), clock=SystemClock())
    seen: list[Change] = []

    def broken(_: object) -> None:
        raise MemoryError("no memory")

    store.subscribe("/pods/", broken)
    store.subscribe("/pods/", seen.extend)
    assert await store.commit(Put("/pods/a", b"1")) == 1
    assert ([change.key for change in seen], store.problem) == (["/pods/a"], "")
    await store.close()


async def test_a_write_that_cannot_be_planned_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = EmbeddedStore(MemoryEngine(), clock=SystemClock())
    former = records.record_of

    def record_of(operation: Any, *args: Any) -> Any:
        if operation.key == POISON:
            raise MemoryError("no memory")
        return former(operation, *args)

    monkeypatch.setattr(embedded, "record_of", record_of)
    with pytest.raises(MemoryError):
        await store.commit(Put("/pods/a", b"1"), Put(POISON, b"1"))
    assert (store.planned("/pods/"), store.problem) == ([], "")
    assert await store.commit(Put("/pods/a", b"1", expected=0)) == 1
    await store.close()
