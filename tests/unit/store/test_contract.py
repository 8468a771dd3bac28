"""What any store must do."""

import asyncio
from collections.abc import Sequence

import pytest

from kubelite.store.protocol import (
    KEY_PART_BYTES_MAX,
    Change,
    Check,
    Compacted,
    Delete,
    FutureRevision,
    Operation,
    Put,
    RevisionMismatch,
    Store,
)


async def test_every_change_takes_the_next_revision(store: Store) -> None:
    assert store.revision == 0
    assert await store.commit(Put("/pods/default/a", b"1")) == 1
    assert await store.commit(Put("/pods/default/b", b"2"), Put("/nodes/n", b"3")) == 3
    assert store.revision == 3


async def test_revision_is_spliced_into_the_value(store: Store) -> None:
    await store.commit(Put("/pods/x", b"first"))
    await store.commit(Put("/pods/a", b'{"v":""}', revision_at=6))
    entry = store.get("/pods/a")
    assert entry is not None
    assert entry.value == b'{"v":"2"}'
    assert (entry.created_revision, entry.revision) == (2, 2)


async def test_created_revision_stays(store: Store) -> None:
    await store.commit(Put("/pods/a", b"1"))
    await store.commit(Put("/pods/a", b"2"))
    entry = store.get("/pods/a")
    assert entry is not None
    assert (entry.created_revision, entry.revision) == (1, 2)


@pytest.mark.parametrize("expected", [0, 7])
async def test_put_demands_the_expected_revision(store: Store, expected: int) -> None:
    await store.commit(Put("/pods/a", b"1"))
    with pytest.raises(RevisionMismatch) as mismatch:
        await store.commit(Put("/pods/b", b"x"), Put("/pods/a", b"2", expected=expected))
    assert mismatch.value.actual == 1
    assert store.revision == 1
    assert store.get("/pods/b") is None


async def test_check_demands_without_changing(store: Store) -> None:
    await store.commit(Put("/pods/a", b"1"))
    await store.commit(Check("/pods/a", 1), Check("/pods/none", 0), Put("/pods/b", b"2"))
    with pytest.raises(RevisionMismatch):
        await store.commit(Check("/pods/a", 2), Put("/pods/c", b"3"))
    assert store.revision == 2


async def test_delete_removes_and_absent_keys_mismatch(store: Store) -> None:
    await store.commit(Put("/pods/a", b"1"))
    assert await store.commit(Delete("/pods/a", expected=1)) == 2
    assert store.get("/pods/a") is None
    with pytest.raises(RevisionMismatch):
        await store.commit(Delete("/pods/a"))


async def test_writes_in_flight_see_each_other(store: Store) -> None:
    first = asyncio.ensure_future(store.commit(Put("/pods/a", b"1", expected=0)))
    second = asyncio.ensure_future(store.commit(Put("/pods/a", b"2", expected=0)))
    done = await asyncio.gather(first, second, return_exceptions=True)
    assert done[0] == 1
    assert isinstance(done[1], RevisionMismatch)


async def test_put_behind_a_delete_in_flight(store: Store) -> None:
    await store.commit(Put("/pods/a", b"1"))
    await asyncio.gather(
        store.commit(Put("/pods/a", b"2")),
        store.commit(Delete("/pods/a")),
        store.commit(Put("/pods/a", b"3", expected=0)),
    )
    entry = store.get("/pods/a")
    assert entry is not None
    assert (entry.value, entry.created_revision, entry.revision) == (b"3", 4, 4)


async def test_list_is_ordered_limited_and_counts_the_rest(store: Store) -> None:
    for name in ("b/2", "a/1", "b/1", "c/1"):
        await store.commit(Put(f"/pods/{name}", name.encode()))
    await store.commit(Put("/podsets/x", b"other"))
    assert [entry.value for entry in store.list("/pods/").entries] == [
        b"a/1",
        b"b/1",
        b"b/2",
        b"c/1",
    ]
    page = store.list("/pods/", limit=2)
    assert (len(page.entries), page.remaining) == (2, 2)
    page = store.list("/pods/", after=page.entries[-1].key, limit=2)
    assert [entry.key for entry in page.entries] == ["/pods/b/2", "/pods/c/1"]
    assert [entry.key for entry in store.list("/pods/b/").entries] == ["/pods/b/1", "/pods/b/2"]
    assert store.count("/pods/b/") == 2
    assert store.count("/") == 5


async def test_list_at_an_earlier_revision(store: Store) -> None:
    await store.commit(Put("/pods/a", b"1"))
    await store.commit(Put("/pods/b", b"2"))
    await store.commit(Put("/pods/a", b"3"))
    await store.commit(Delete("/pods/b"))
    await store.commit(Put("/pods/c", b"5"))
    page = store.list("/pods/", revision=2)
    assert [(entry.key, entry.value, entry.revision) for entry in page.entries] == [
        ("/pods/a", b"1", 1),
        ("/pods/b", b"2", 2),
    ]
    assert page.revision == 2


async def test_pages_at_an_earlier_revision_go_on_where_the_last_ended(store: Store) -> None:
    for name in "acegi":
        await store.commit(Put(f"/pods/{name}", name.encode()))
    revision = store.revision
    await store.commit(Delete("/pods/c"), Put("/pods/g", b"changed"), Put("/pods/b", b"new"))
    seen: list[tuple[str, bytes, int]] = []
    page = store.list("/pods/", limit=2, revision=revision)
    while True:
        seen += [(entry.key, entry.value, page.remaining) for entry in page.entries]
        if not page.remaining:
            break
        page = store.list("/pods/", after=page.entries[-1].key, limit=2, revision=revision)
    left = (3, 3, 1, 1, 0)
    assert seen == [(f"/pods/{n}", n.encode(), m) for n, m in zip("acegi", left, strict=True)]


@pytest.mark.parametrize(
    "operations",
    [
        (Put("/pods/a", b"1"), Put("/pods/a", b"2")),
        (Delete("/pods/there"), Delete("/pods/there")),
        (Put("/" + "s" * KEY_PART_BYTES_MAX, b""),),
        (Put("/pods/" + "n" * (KEY_PART_BYTES_MAX + 1), b""),),
        (Put("/pods/\ud800", b""),),
    ],
)
async def test_what_would_spoil_the_commit_of_others_is_refused(
    store: Store, operations: Sequence[Operation]
) -> None:
    await store.commit(Put("/pods/there", b"1"))
    with pytest.raises(ValueError, match=r"cannot|can't"):
        await store.commit(Put("/pods/good", b"1"), *operations)
    assert (store.revision, store.get("/pods/good")) == (1, None)
    assert await store.commit(Put("/pods/" + "n" * KEY_PART_BYTES_MAX, b"")) == 2


async def test_history_tells_every_change(store: Store) -> None:
    await store.commit(Put("/pods/a", b"1"))
    await store.commit(Put("/pods/a", b"2"))
    await store.commit(Put("/nodes/n", b"3"))
    await store.commit(Delete("/pods/a", value=b"last ", revision_at=5))
    assert store.history("/pods/", 1) == [
        Change(2, "/pods/a", b"2", b"1", deleted=False, created_revision=1),
        Change(4, "/pods/a", b"last 4", b"2", deleted=True, created_revision=1),
    ]
    with pytest.raises(FutureRevision):
        store.history("/pods/", 5)


async def test_old_revisions_are_compacted(store: Store) -> None:
    for number in range(150):
        await store.commit(Put("/pods/a", b"%d" % number))
    assert 0 < store.oldest < 60
    with pytest.raises(Compacted):
        store.history("/pods/", 1)
    with pytest.raises(Compacted):
        store.list("/pods/", revision=1)
    assert len(store.history("/pods/", store.oldest)) == 150 - store.oldest


async def test_subscribers_see_each_batch_before_the_writer_goes_on(store: Store) -> None:
    seen: list[Change] = []

    def listen(changes: Sequence[Change]) -> None:
        seen.extend(changes)

    end = store.subscribe("/pods/default/", listen)
    everything: list[Change] = []
    store.subscribe("/", everything.extend)
    await store.commit(Put("/pods/default/a", b"1"), Put("/pods/other/a", b"2"))
    assert [change.key for change in seen] == ["/pods/default/a"]
    assert len(everything) == 2
    end()
    await store.commit(Put("/pods/default/a", b"3"))
    assert len(seen) == 1


async def test_a_broken_listener_harms_nobody(store: Store) -> None:
    seen: list[Change] = []

    def broken(_changes: Sequence[Change]) -> None:
        raise ValueError("broken")

    store.subscribe("/pods/", broken)
    store.subscribe("/pods/", seen.extend)
    assert await store.commit(Put("/pods/a", b"1")) == 1
    assert len(seen) == 1


async def test_who_comes_second_is_told_when_the_first_can_be_read(store: Store) -> None:
    await store.commit(Put("/a", b"1"))
    first = asyncio.ensure_future(store.commit(Put("/a", b"2", expected=1)))
    await asyncio.sleep(0)
    with pytest.raises(RevisionMismatch):
        await store.commit(Put("/a", b"3", expected=1))
    entry = store.get("/a")
    assert entry is not None
    assert entry.value == b"2"
    assert await first == 2


async def test_the_outcome_is_told_before_the_caller_goes_on(store: Store) -> None:
    outcomes: list[bool] = []
    await store.commit(Put("/pods/a", b"1"), settled=outcomes.append)
    assert outcomes == [True]
    await store.commit(Check("/pods/a", 1), settled=outcomes.append)
    assert outcomes == [True, True]
    with pytest.raises(RevisionMismatch):
        await store.commit(Put("/pods/a", b"2", expected=0), settled=outcomes.append)
    assert outcomes == [True, True, False]


async def test_the_outcome_is_told_though_nobody_waits(store: Store) -> None:
    outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    write = asyncio.create_task(store.commit(Put("/pods/a", b"1"), settled=outcome.set_result))
    await asyncio.sleep(0)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    assert await outcome
    assert store.get("/pods/a") is not None
