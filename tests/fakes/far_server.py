"""A server at the far end of a link that breaks: lists and watches of one kind each, in the running loop's time."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Literal

import msgspec

from kubelite.api.client.availability import Availability
from kubelite.api.errors import APIError, Expired, ServiceUnavailable

BOOKMARK_SECONDS = 60.0
SILENCE_SECONDS = 150.0
State = Literal["up", "refusing", "hanging"]


def item(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


class FarServer:
    """Revisions and a history for several kinds; `state` says how it answers."""

    def __init__(self, availability: Availability) -> None:
        self.availability = availability
        self.state: State = "up"
        self.revision = 1
        self.floor = 0  # watches from before are Expired
        self.items: dict[str, dict[str, int]] = {}  # by kind and name: the version
        self.history: list[tuple[int, str, str, str]] = []  # revision, kind, event, name
        self.changed = asyncio.Condition()
        self.lists: list[tuple[float, str, int]] = []  # when, of what, page size
        self.watches: list[tuple[float, str, str]] = []  # when, of what, from which version
        self.listing = 0
        self.listing_most = 0
        self.list_seconds = 1.0
        self.error: APIError | None = None  # the answer to all that comes

    def put(self, kind: str, name: str) -> None:
        self.revision += 1
        of_kind = self.items.setdefault(kind, {})
        event = "MODIFIED" if name in of_kind else "ADDED"
        of_kind[name] = self.revision
        self.history.append((self.revision, kind, event, name))

    def compact(self) -> None:
        """Forget the past."""
        self.floor = self.revision
        self.history.clear()

    def restore(self, revision: int, items: dict[str, dict[str, int]]) -> None:
        """Go back to an older state."""
        self.revision, self.items, self.history = revision, items, []
        self.floor = 0

    async def tell(self) -> None:
        """Wake the watches."""
        async with self.changed:
            self.changed.notify_all()

    async def go(self, state: State) -> None:
        self.state = state
        await self.tell()

    async def answer(self) -> None:
        """Answer a request as the present state has it."""
        with self.availability.attempt() as attempt:
            if self.state == "hanging":
                await asyncio.sleep(60)
            if self.state != "up":
                attempt.failed(self.state)
                raise ServiceUnavailable(f"cannot reach server: {self.state}")
            attempt.answered()
        if self.error is not None:
            raise self.error

    def of(self, kind: str) -> "FarSource":
        return FarSource(self, kind)


class FarSource:
    """A `Source` of one kind."""

    def __init__(self, server: FarServer, kind: str) -> None:
        self._server = server
        self._kind = kind

    async def page(self, limit: int, continue_token: str) -> bytes:
        server = self._server
        await server.answer()
        server.lists.append((asyncio.get_running_loop().time(), self._kind, limit))
        server.listing += 1
        server.listing_most = max(server.listing_most, server.listing)
        try:
            await asyncio.sleep(server.list_seconds)
        finally:
            server.listing -= 1
        names = sorted(server.items.get(self._kind, {}))
        begin = int(continue_token or 0)
        end = begin + limit if limit else len(names)
        chosen = [item(name, server.items[self._kind][name]) for name in names[begin:end]]
        token = str(end) if end < len(names) else ""
        metadata = {"resourceVersion": str(server.revision), "continue": token}
        return msgspec.json.encode({"metadata": metadata, "items": chosen})

    async def watch(
        self, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[bytes, None]:
        server, loop = self._server, asyncio.get_running_loop()
        await server.answer()
        server.watches.append((loop.time(), self._kind, resource_version))
        at = int(resource_version)
        if at < server.floor:
            raise Expired("too old")
        end = loop.time() + timeout_seconds
        while loop.time() < end:
            for revision, kind, event, name in list(server.history):
                if kind == self._kind and revision > at:
                    at = revision
                    yield msgspec.json.encode({"type": event, "object": item(name, revision)})
            try:
                async with asyncio.timeout(BOOKMARK_SECONDS), server.changed:
                    await server.changed.wait()
            except TimeoutError:
                if server.state == "up" and at <= server.revision:
                    at = server.revision
                    yield msgspec.json.encode({"type": "BOOKMARK", "object": item("", at)})
                    continue
                await asyncio.sleep(SILENCE_SECONDS - BOOKMARK_SECONDS)
                raise ServiceUnavailable("cannot reach server: silent") from None
            if server.state == "refusing":
                raise ServiceUnavailable("cannot reach server: connection reset")
