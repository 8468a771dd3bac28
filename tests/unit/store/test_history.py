from kubelite.limits import HISTORY_BYTES, HISTORY_CHANGES, HISTORY_CHANGES_APART, HISTORY_SECONDS
from kubelite.store.history import History, HistoryLimits, LoggedChange
from kubelite.store.protocol import Change, Entry


def record(key: str, revision: int, at: float = 0.0, replaced: bytes = b"") -> LoggedChange:
    change = Change(revision, key, b"", None, deleted=False, created_revision=revision)
    return LoggedChange(change, Entry(key, replaced, 1, 1) if replaced else None, at)


def history(*keys: str, **limits: int) -> History:
    made = History(HistoryLimits(apart=frozenset({"/leases/"}), changes_apart=3, **limits))
    for revision, key in enumerate(keys, 1):
        made.append(record(key, revision, at=float(revision)))
    return made


def revisions(found: list[LoggedChange]) -> list[int]:
    return [one.change.revision for one in found]


def test_heartbeats_push_nothing_else_out() -> None:
    kept = history("/pods/a", *["/leases/n"] * 10, "/pods/b", changes=5)
    assert not kept.compact(0.0)
    assert (kept.floor_of("/pods/"), kept.floor_of("/leases/")) == (0, 8)
    assert revisions(kept.after("/pods/", 0)) == [1, 12]
    assert revisions(kept.after("/leases/", 8)) == [9, 10, 11]
    assert len(kept) == 5


def test_others_push_no_heartbeats_out() -> None:
    kept = history("/leases/n", *["/pods/a"] * 7, changes=2)
    kept.compact(0.0)
    assert (kept.floor, kept.floor_of("/pods/"), kept.floor_of("/leases/")) == (6, 6, 0)


def test_everything_together_is_known_from_where_nothing_is_missing() -> None:
    kept = history("/pods/a", *["/leases/n"] * 5, "/pods/b")
    kept.compact(0.0)
    assert kept.floor_of("/") == 3
    assert revisions(kept.after("/", 3)) == [4, 5, 6, 7]


def test_the_disk_keeps_what_any_window_knows() -> None:
    kept = history("/pods/a", *["/leases/n"] * 5)
    kept.compact(0.0)
    assert kept.kept_after == 0
    kept.compact(301.5)  # the pod's change is of age
    assert kept.kept_after == 3
    kept.compact(1000.0)
    assert kept.kept_after == 6
    assert kept.expires_in(1000.0) is None


def test_a_beginning_knows_no_past() -> None:
    kept = history()
    kept.begin(7)
    assert (kept.floor_of("/pods/"), kept.floor_of("/leases/"), kept.kept_after) == (7, 7, 7)


def test_bytes_are_counted_by_window() -> None:
    kept = History(HistoryLimits(bytes=10, apart=frozenset({"/leases/"})))
    kept.append(record("/pods/a", 1, replaced=b"x" * 8))
    kept.append(record("/leases/a", 2, replaced=b"x" * 8))
    kept.compact(0.0)
    assert len(kept) == 2
    kept.append(record("/pods/a", 3, replaced=b"x" * 8))
    kept.compact(0.0)
    assert (kept.floor_of("/pods/"), kept.floor_of("/leases/")) == (1, 0)


def test_what_made_changes_go_is_counted() -> None:
    before = [limit.times_reached for limit in (HISTORY_BYTES, HISTORY_SECONDS)]
    few = History(HistoryLimits(bytes=1))
    few.append(record("/pods/a", 1, replaced=b"xx"))
    few.compact(0.0)
    old = History(HistoryLimits(seconds=1.0))
    old.append(record("/pods/a", 1))
    old.compact(5.0)
    after = [limit.times_reached for limit in (HISTORY_BYTES, HISTORY_SECONDS)]
    assert [now - was for now, was in zip(after, before, strict=True)] == [1, 1]


def test_a_window_of_its_own_counts_its_own_limit() -> None:
    limits = (HISTORY_CHANGES, HISTORY_CHANGES_APART)
    before = [limit.times_reached for limit in limits]
    kept = History(HistoryLimits(changes=1, changes_apart=1, apart=frozenset({"/leases/"})))
    for revision, key in enumerate(("/leases/a", "/leases/a", "/leases/b", "/pods/a", "/pods/b")):
        kept.append(record(key, revision + 1))
    kept.compact(0.0)
    after = [limit.times_reached for limit in limits]
    assert [now - was for now, was in zip(after, before, strict=True)] == [1, 2]
