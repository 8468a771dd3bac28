"""The store against a model: a list of every state there has been."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kubelite.clock import SystemClock
from kubelite.store import snapshots
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.history import HistoryLimits
from kubelite.store.protocol import Change, Compacted, Delete, Operation, Put, RevisionMismatch

KEYS = [f"/{segment}/{name}" for segment in ("pods/a", "pods/b", "nodes") for name in "xyz"]
keys = st.sampled_from(KEYS)
prefixes = st.sampled_from(["/", "/pods/", "/pods/a/", "/nodes/", "/none/"])


class StoreMachine(RuleBasedStateMachine):
    """Writes, reads at any revision, resumes watches, restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.states: list[dict[str, tuple[bytes, int]]] = [{}]  # by revision
        self.seen: list[Change] = []
        self._open()

    def _open(self) -> None:
        opening = EmbeddedStore.open(
            Path(self.folder.name), clock=SystemClock(), limits=HistoryLimits(changes=25)
        )
        self.store = self.loop.run_until_complete(opening)
        self.store.subscribe("/", self.seen.extend)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    def _commit(self, *operations: Operation) -> int:
        return self.loop.run_until_complete(self.store.commit(*operations))

    @rule(key=keys, value=st.binary(max_size=40))
    def put(self, key: str, value: bytes) -> None:
        revision = self._commit(Put(key, value))
        self.states.append({**self.states[-1], key: (value, revision)})

    @rule(
        pairs=st.lists(
            st.tuples(keys, st.binary(max_size=9)),
            min_size=2,
            max_size=4,
            unique_by=lambda pair: pair[0],
        )
    )
    def put_several(self, pairs: list[tuple[str, bytes]]) -> None:
        self._commit(*(Put(key, value) for key, value in pairs))
        for key, value in pairs:
            self.states.append({**self.states[-1], key: (value, len(self.states))})

    @rule(key=keys, guess=st.integers(0, 30))
    def put_if(self, key: str, guess: int) -> None:
        actual = self.states[-1].get(key, (b"", 0))[1]
        if guess == actual:
            revision = self._commit(Put(key, b"guessed", expected=guess))
            self.states.append({**self.states[-1], key: (b"guessed", revision)})
        else:
            with pytest.raises(RevisionMismatch):
                self._commit(Put(key, b"guessed", expected=guess))

    @rule(key=keys)
    def delete(self, key: str) -> None:
        if key in self.states[-1]:
            self._commit(Delete(key))
            self.states.append({k: v for k, v in self.states[-1].items() if k != key})
        else:
            with pytest.raises(RevisionMismatch):
                self._commit(Delete(key))

    @rule(
        prefix=prefixes, data=st.data(), limit=st.integers(0, 4), after=st.sampled_from(["", *KEYS])
    )
    def list_at(self, prefix: str, data: Any, limit: int, after: str) -> None:
        revision = data.draw(st.integers(1, max(1, self.store.revision)))
        if revision > self.store.revision:
            return
        if revision < self.store.oldest:
            with pytest.raises(Compacted):
                self.store.list(prefix, revision=revision)
            return
        page = self.store.list(prefix, after=after, limit=limit, revision=revision)
        wanted = [
            (key, *value)
            for key, value in sorted(self.states[revision].items())
            if key.startswith(prefix) and key > after
        ]
        shown = wanted[:limit] if limit else wanted
        assert [(entry.key, entry.value, entry.revision) for entry in page.entries] == shown
        assert page.remaining == len(wanted) - len(shown)

    @rule(data=st.data())
    def replay(self, data: Any) -> None:
        start = data.draw(st.integers(self.store.oldest, self.store.revision))
        state = dict(self.states[start])
        for change in self.store.history("/", start):
            previous = state[change.key][0] if change.key in state else None
            assert change.previous == previous
            if change.deleted:
                del state[change.key]
            else:
                state[change.key] = (change.value, change.revision)
        assert state == self.states[-1]

    @rule()
    @precondition(lambda self: len(self.states) > 3)
    def restart(self) -> None:
        self.loop.run_until_complete(self.store.close())
        assert snapshots.check(Path(self.folder.name)).problems == []
        self._open()

    @invariant()
    def revisions_are_counted_without_gap(self) -> None:
        assert self.store.revision == len(self.states) - 1
        assert [change.revision for change in self.seen] == list(range(1, len(self.states)))


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
