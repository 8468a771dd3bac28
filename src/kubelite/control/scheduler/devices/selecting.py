"""Evaluates the selectors of classes and claims, and remembers which devices they select until the slice changes.

What may take long, compiling and dear expressions, is done off the loop before a decision. What a decision still
evaluates is cheap.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kubelite.api.kinds.resource import Device, ResourceSlice
from kubelite.control.scheduler.devices.allocator import TookTooLong
from kubelite.control.scheduler.devices.pools import Offer
from kubelite.control.scheduler.devices.protocol import AllocationFailed, NotPrepared
from kubelite.limits import EXPRESSION_INLINE, POD_SELECTORS, SELECTION_COST
from kubelite.offload import FAR_FROM_INLINE, Offload

if TYPE_CHECKING:
    # Where no claim exists, nothing brings in the whole of `kubelite.cel`.
    from kubelite.api.machinery.device_selectors import Selector

UNITS_A_STEP = 20
DEVICE_STEPS = 20  # what showing a device to an expression takes
BATCH_COST = (
    200_000  # units: some ten milliseconds, after which the worker thread may do other work
)
COMPILE_COST = 100  # what a byte of an expression costs to compile, beside a byte of input

Answer = bool | str  # the text says why there is none


class _Kept:
    """A compiled expression and its answers, by slice and device."""

    def __init__(self, selector: "Selector") -> None:
        self.selector = selector
        self.cost = selector.cost
        self._answers: dict[str, tuple[ResourceSlice, dict[str, Answer]]] = {}

    def answers(self, one: ResourceSlice) -> dict[str, Answer]:
        """Return the answers for the devices of a slice as it is now."""
        known = self._answers.get(one.metadata.uid)
        if known is None or known[0] is not one:
            known = self._answers[one.metadata.uid] = (one, {})
        return known[1]

    def forget(self, uid: str) -> None:
        """Drop the answers of a slice that is gone."""
        self._answers.pop(uid, None)


class Selectors:
    """The expressions used last."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def prepare(self, texts: Iterable[str], slices: Sequence[ResourceSlice]) -> None:
        """Compile expressions, and evaluate the dear ones for all devices. Raises TookTooLong; what is done is kept."""
        left = SELECTION_COST.value
        wanted = dict.fromkeys(texts)
        if len(wanted) > POD_SELECTORS.value:
            POD_SELECTORS.reached()
            raise AllocationFailed(f"more than {POD_SELECTORS.value} different device selectors")
        for text in wanted:
            kept = await self._compiled(text)
            if kept.cost <= EXPRESSION_INLINE.value:
                continue
            for one in slices:
                answers = kept.answers(one)
                missing = [device for device in one.spec.devices if device.name not in answers]
                while missing:
                    if left <= 0:
                        SELECTION_COST.reached()
                        raise TookTooLong
                    count = max(BATCH_COST // kept.cost, 1)
                    batch, missing = missing[:count], missing[count:]
                    left -= kept.cost * len(batch)
                    answers |= await self._evaluated(kept, one.spec.driver, batch)

    async def _compiled(self, text: str) -> _Kept:
        kept = self._kept.get(text)
        if kept is None:
            cost = COMPILE_COST * len(text.encode())
            kept = self._kept[text] = await self._offload.run(cost, lambda: _compile(text))
        self._kept.move_to_end(text)
        while len(self._kept) > POD_SELECTORS.value:
            self._kept.popitem(last=False)
        return kept

    async def _evaluated(
        self, kept: _Kept, driver: str, devices: Sequence[Device]
    ) -> dict[str, Answer]:
        def work() -> dict[str, Answer]:
            return {one.name: _answer(kept.selector, driver, one) for one in devices}

        return await self._offload.run(FAR_FROM_INLINE, work)

    def forget(self, before: ResourceSlice | None, after: ResourceSlice | None) -> None:
        """Drop what is known of a slice that is gone."""
        if after is None and before is not None:
            for kept in self._kept.values():
                kept.forget(before.metadata.uid)

    def steps(self, text: str) -> int:
        """Return about how many steps an evaluation takes."""
        kept = self._kept.get(text)
        cost = min(kept.cost, EXPRESSION_INLINE.value) if kept is not None else 0
        return DEVICE_STEPS + cost // UNITS_A_STEP

    def matches(self, text: str, offer: Offer) -> bool:
        """Return whether an expression selects a device.

        Raises AllocationFailed if it fails, NotPrepared if it came, or its slice did, after `prepare`.
        """
        kept = self._kept.get(text)
        if kept is None:
            raise NotPrepared
        answers = kept.answers(offer.slice)
        answer = answers.get(offer.device.name)
        if answer is None:
            if kept.cost > EXPRESSION_INLINE.value:
                raise NotPrepared
            answer = _answer(kept.selector, offer.key[0], offer.device)
            answers[offer.device.name] = answer
        if isinstance(answer, str):
            raise AllocationFailed(answer)
        return answer


def _compile(text: str) -> _Kept:
    from kubelite.api.machinery import device_selectors

    return _Kept(device_selectors.compiled(text))


def _answer(selector: "Selector", driver: str, device: Device) -> Answer:
    from kubelite.api.machinery import device_selectors

    if selector.program is None:
        return f"CEL compile error: {selector.error}"
    try:
        return device_selectors.matches(selector, device_selectors.seen(driver, device))
    except device_selectors.SelectionFailed as error:
        return f"CEL runtime error: {error}"
