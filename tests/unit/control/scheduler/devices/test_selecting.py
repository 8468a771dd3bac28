"""Expressions are compiled once, dear ones evaluated off the loop, and answers kept until the slice changes."""

import pytest
from fakes.recorded_offload import RecordedOffload

from kubelite.api.kinds.resource import ResourceSlice
from kubelite.api.machinery import device_selectors
from kubelite.control.scheduler.devices.allocator import TookTooLong
from kubelite.control.scheduler.devices.pools import Offer, Pool
from kubelite.control.scheduler.devices.protocol import AllocationFailed, NotPrepared
from kubelite.control.scheduler.devices.selecting import Selectors
from kubelite.limits import EXPRESSION_INLINE, POD_SELECTORS, SELECTION_COST
from unit.control.scheduler.devices.offers import DRIVER, make_device, make_slice

IS_BIG = f'device.attributes["{DRIVER}"].size > 5'


def offer(one: ResourceSlice) -> Offer:
    device = one.spec.devices[0]
    return Offer((DRIVER, "pool", device.name), device, one, Pool((DRIVER, "pool")))


def sized(size: int) -> ResourceSlice:
    return make_slice("s", make_device("d", attributes={"size": size}))


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each evaluation."""
    seen: list[str] = []
    matches = device_selectors.matches

    def counted(selector: device_selectors.Selector, device: object) -> bool:
        seen.append(selector.text)
        return matches(selector, device)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(device_selectors, "matches", counted)
    return seen


async def test_an_answer_is_kept_until_the_slice_changes(evaluations: list[str]) -> None:
    selectors = Selectors(RecordedOffload())
    await selectors.prepare([IS_BIG], [])
    small, big = sized(1), sized(9)
    assert [selectors.matches(IS_BIG, offer(small)) for _ in range(3)] == [False] * 3
    assert len(evaluations) == 1
    assert selectors.matches(IS_BIG, offer(big))
    selectors.forget(big, None)
    assert selectors.matches(IS_BIG, offer(big))
    assert len(evaluations) == 3


async def test_what_was_not_prepared_is_no_answer() -> None:
    selectors = Selectors(RecordedOffload())
    with pytest.raises(NotPrepared):
        selectors.matches(IS_BIG, offer(sized(1)))
    await selectors.prepare(["device.nothing"], [])
    with pytest.raises(AllocationFailed, match="CEL compile error: compilation failed"):
        selectors.matches("device.nothing", offer(sized(1)))


async def test_dear_expressions_have_a_budget_and_go_on_after_it(
    monkeypatch: pytest.MonkeyPatch, evaluations: list[str]
) -> None:
    monkeypatch.setattr(EXPRESSION_INLINE, "value", 0)
    cost = device_selectors.compiled(IS_BIG).cost
    monkeypatch.setattr(SELECTION_COST, "value", 3 * cost)
    slices = [
        make_slice(f"s{number}", make_device("d", attributes={"size": number}))
        for number in range(5)
    ]
    offload = RecordedOffload()
    selectors = Selectors(offload)
    with pytest.raises(TookTooLong):
        await selectors.prepare([IS_BIG], slices)
    with pytest.raises(NotPrepared):
        selectors.matches(IS_BIG, offer(slices[4]))
    assert len(evaluations) == 3
    await selectors.prepare([IS_BIG], slices)
    assert len(evaluations) == 5
    assert offload.leaves_the_loop
    assert not selectors.matches(IS_BIG, offer(slices[4]))
    assert len(evaluations) == 5


async def test_expressions_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(POD_SELECTORS, "value", 3)
    selectors = Selectors(RecordedOffload())
    with pytest.raises(AllocationFailed, match="more than 3 different device selectors"):
        await selectors.prepare([f"{number} == 0" for number in range(4)], [])
    for number in range(5):
        await selectors.prepare([f"{number} == 0"], [])
    assert list(selectors._kept) == ["2 == 0", "3 == 0", "4 == 0"]
