import asyncio

import pytest

from kubelite.api.http.wire import (
    SLICE_BYTES,
    Disconnected,
    Pieces,
    drained,
    is_paused,
    slices,
    whole,
)


@pytest.mark.parametrize(
    "items",
    [
        [],
        [b"1"],
        [b"1", b"2", b"3"],
        [b"x" * SLICE_BYTES],
        [b"x" * SLICE_BYTES, b"y"],
        [b"x" * 1000] * 1000,
        [b"x", b"y" * (3 * SLICE_BYTES), b"z"],
    ],
)
def test_pieces_are_the_whole_in_slices(items: list[bytes]) -> None:
    pieces = Pieces(b'{"items":[', items, b"]}")
    parts = list(slices(pieces))
    assert b"".join(parts) == whole(pieces) == b'{"items":[' + b",".join(items) + b"]}"
    assert len(pieces) == len(whole(pieces))
    longest = max(map(len, items), default=0)
    assert all(len(part) <= SLICE_BYTES + longest + 20 for part in parts)


def test_bytes_are_cut_in_slices_without_a_copy() -> None:
    body = b"x" * (2 * SLICE_BYTES + 1)
    parts = list(slices(body))
    assert [len(part) for part in parts] == [SLICE_BYTES, SLICE_BYTES, 1]
    assert all(isinstance(part, memoryview) for part in parts)


class ClosedTwice(asyncio.Transport):
    """Fails as TLS of asyncio does after a second close."""

    def get_protocol(self) -> asyncio.BaseProtocol:
        raise AttributeError("'NoneType' object has no attribute '_app_protocol'")


async def test_a_lost_connection_is_not_paused_and_drains_nothing() -> None:
    assert not is_paused(ClosedTwice())
    with pytest.raises(Disconnected):
        await drained(ClosedTwice())
