"""However writes come and fail, a quota's use is what the objects use, and never more than its limit."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from fakes.server import Server
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.api.errors import APIError, Forbidden, ServiceUnavailable
from kubelite.api.registry.admission import Admission
from kubelite.api.registry.admission.resource_quota import ResourceQuota
from kubelite.store.engine import Batch, EngineFailed
from kubelite.store.memory_engine import MemoryEngine
from kubelite.store.protocol import Change

CPU_LIMIT_MILLIS, PODS_LIMIT = 2000, 8


class FailingEngine(MemoryEngine):
    """Fails those batches that it is told to."""

    def __init__(self, fails: Sequence[bool]) -> None:
        super().__init__()
        self.fails = list(fails)
        self.armed = False
        self.failed = 0
        self.batches = 0

    def write(self, batch: Batch) -> None:
        if self.armed:
            self.batches += 1
            if self.fails and self.fails.pop(0):
                self.failed += 1
                raise EngineFailed("no space left")
        super().write(batch)


def pod(name: str, millis: int) -> dict[str, Any]:
    resources = {"requests": {"cpu": f"{millis}m"}}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]},
    }


class Watcher:
    """Sums up what is durable after each batch."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.problems: list[AssertionError] = []
        server.store.subscribe("/", self._changed)

    def _changed(self, changes: Sequence[Change]) -> None:
        try:
            self.check()
        except AssertionError as error:  # the store would only log it
            self.problems.append(error)

    def check(self) -> None:
        """Compare the quotas with the pods."""
        pods = [msgspec.json.decode(e.value) for e in self.server.store.list("/pods.core/").entries]
        millis = sum(
            int(one["spec"]["containers"][0]["resources"]["requests"]["cpu"].removesuffix("m"))
            for one in pods
        )
        assert millis <= CPU_LIMIT_MILLIS
        assert len(pods) <= PODS_LIMIT
        for name, expected in (("cpu", {"requests.cpu": millis}), ("pods", {"pods": len(pods)})):
            found = self.server.store.get(f"/resourcequotas.core/default/{name}")
            assert found is not None
            used = msgspec.json.decode(found.value)["status"].get("used", {})
            assert {key: _millis(key, text) for key, text in used.items()} == (
                expected if used or pods else {}
            )


def _millis(name: str, text: str) -> int:
    if name == "pods":
        return int(text)
    return int(text.removesuffix("m")) if text.endswith("m") else int(text) * 1000


@settings(max_examples=40, deadline=None)
@given(
    writes=st.lists(
        # a name, which may come twice, what it asks for, and after how many turns of the loop it comes
        st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(0, 6), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    fails=st.lists(st.booleans(), max_size=6),
)
def test_use_is_exact(writes: list[tuple[int, int, int, bool]], fails: list[bool]) -> None:
    async def run() -> None:
        engine = FailingEngine(fails)
        server = Server(engine=engine)
        plugin = ResourceQuota(server.store, server.resources, server.clock)
        server.writer.admission = Admission.ordered(plugin)
        for name, hard in (
            ("cpu", {"requests.cpu": f"{CPU_LIMIT_MILLIS}m"}),
            ("pods", {"pods": str(PODS_LIMIT)}),
        ):
            made = {"metadata": {"name": name}, "spec": {"hard": hard}}
            await server.create("v1/resourcequotas", made)
        watcher = Watcher(server)

        async def write(number: int, hundreds: int, turns: int, is_dry: bool) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            options: dict[str, Any] = {"dry_run": True} if is_dry else {}
            await server.create("v1/pods", pod(f"p{number}", hundreds * 100), **options)

        engine.armed = True
        results = await asyncio.gather(*(write(*one) for one in writes), return_exceptions=True)
        assert watcher.problems == []
        assert all(one is None or isinstance(one, APIError) for one in results)
        refused = sum(isinstance(one, Forbidden) for one in results)
        kept = server.store.count("/pods.core/")
        assert kept or refused or engine.failed or all(one[3] for one in writes)
        if not engine.failed:
            assert not any(isinstance(one, ServiceUnavailable) for one in results)
        watcher.check()
        engine.fails.clear()
        # What failed has left nothing behind: the rest of the quota can still be used, to the last piece.
        for number in range(kept, PODS_LIMIT):
            try:
                await server.create("v1/pods", pod(f"more{number}", 1))
            except Forbidden as error:
                assert "requests.cpu" in error.message  # noqa: PT017 - which quota is full depends on the draw
                break
        watcher.check()

    asyncio.run(run())
