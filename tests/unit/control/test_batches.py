"""Many writes of one kind."""

import asyncio

from kubelite.control.batches import EACH_AT_ONCE, for_each


async def test_writes_for_each_item_are_under_way_a_hundred_at_a_time() -> None:
    under_way = most = 0

    async def write(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return 2 * number

    answers = await for_each(range(250), write)
    assert answers == [2 * number for number in range(250)]
    assert most == EACH_AT_ONCE
