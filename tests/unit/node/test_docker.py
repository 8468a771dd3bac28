"""What an engine sends, line by line."""

from collections.abc import AsyncIterator

import pytest

from kubelite.limits import ENGINE_LINE
from kubelite.node.docker import lines_of
from kubelite.node.runtime import RuntimeFailure


async def _pieces(whole: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
async def test_lines_come_out_of_any_pieces(size: int) -> None:
    whole = b'{"a":1}\r\n\n{"b":2}\n  \n{"c":3}'
    found = [line async for line in lines_of(_pieces(whole, size))]
    assert found == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


async def test_a_line_without_end_is_given_up() -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1000
            yield b"x" * 1000

    with pytest.raises(RuntimeFailure, match="too long a line"):
        [line async for line in lines_of(endless())]
    assert given <= ENGINE_LINE.value + 1000
