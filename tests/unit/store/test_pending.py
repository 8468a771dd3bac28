from kubelite.store.pending import Pending
from kubelite.store.protocol import Entry


def entry(key: str, revision: int) -> Entry:
    return Entry(key, b"v", 1, revision)


def test_states_lie_over_what_is_durable() -> None:
    pending = Pending()
    pending.put("/pods/a/y", 7, None)
    pending.put("/pods/a/b", 8, entry("/pods/a/b", 8))
    pending.put("/pods/b/c", 9, entry("/pods/b/c", 9))
    durable = [entry("/pods/a/x", 1), entry("/pods/a/y", 2)]
    assert [one.key for one in pending.over(durable, "/pods/a/")] == ["/pods/a/b", "/pods/a/x"]
    assert [one.key for one in pending.over([], "/nodes/")] == []
    assert pending.get("/pods/a/y") == (7, None)
    assert pending.get("/nodes/a") is None


def test_only_the_newest_write_settles_a_key() -> None:
    pending = Pending()
    pending.put("/pods/a/b", 1, entry("/pods/a/b", 1))
    pending.put("/pods/a/b", 2, entry("/pods/a/b", 2))
    pending.settle("/pods/a/b", 1)
    assert pending.get("/pods/a/b") is not None
    pending.settle("/pods/a/b", 2)
    assert pending.get("/pods/a/b") is None
    pending.put("/pods/a/b", 3, None)
    pending.clear()
    assert pending.over([entry("/pods/a/b", 2)], "/pods/a/") == [entry("/pods/a/b", 2)]
