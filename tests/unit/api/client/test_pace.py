import asyncio

from kubelite.api.client.pace import WRITES_A_TURN, Pace


async def test_writes_begin_in_order_some_in_each_turn() -> None:
    pace, begun = Pace(), list[int]()

    async def write(number: int) -> None:
        await pace.turn()
        begun.append(number)

    number = 3 * WRITES_A_TURN + 1
    writes = [asyncio.create_task(write(each)) for each in range(number)]
    most, turns = 0, 0
    while len(begun) < number:
        before = len(begun)
        await asyncio.sleep(0)
        most, turns = max(most, len(begun) - before), turns + 1
    assert begun == list(range(number))
    assert most == WRITES_A_TURN
    assert turns <= 8
    await asyncio.gather(*writes)


async def test_one_write_waits_for_nobody() -> None:
    pace = Pace()
    for _ in range(3):
        turn = pace.turn()
        try:
            turn.send(None)
        except StopIteration:
            await asyncio.sleep(0)
            continue
        raise AssertionError("it waited")


async def test_who_gives_up_holds_nobody_up() -> None:
    pace = Pace()
    first, second = (asyncio.create_task(pace.turn()) for _ in range(2))

    async def give_up() -> None:
        first.cancel()

    ending = asyncio.create_task(give_up())
    for _ in range(WRITES_A_TURN):
        await pace.turn()
    await asyncio.gather(second, ending)
    assert first.cancelled()
