"""The allocator finds devices exactly where trying everything finds some, and what it finds keeps all rules."""

from collections.abc import Iterator
from itertools import combinations, islice, product
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.control.scheduler.devices.offers import (
    DRIVER,
    allocate,
    make_claim,
    make_device,
    make_slice,
    wanted,
)

from kubelite.api.kinds.resource import AllocationResult
from kubelite.control.scheduler.devices.pools import Offer
from kubelite.control.scheduler.devices.protocol import AllocationFailed

SLOTS = 4  # what the devices of the pool share


class Thing(NamedTuple):
    color: str
    size: int
    shape: int
    slots: int
    is_broken: bool


class Ask(NamedTuple):
    color: str  # "": any
    number: int  # 0: all
    tolerates: bool


class Claim(NamedTuple):
    requests: tuple[tuple[Ask, ...], ...]  # alternatives
    same: str  # the attribute that all devices have in common, or ""
    apart: str


Chosen = tuple[tuple[int, tuple[int, ...]], ...]  # by request: which alternative, which devices

few = st.integers(0, 2)
rarely = st.sampled_from((False, False, False, True))
things = st.builds(Thing, st.sampled_from("rb"), few, few, few, rarely)
asks = st.builds(
    Ask, st.sampled_from(("", "", "r", "b")), st.sampled_from((1, 1, 2, 2, 3, 0)), st.booleans()
)
attributes = st.sampled_from(("", "size", "shape"))
claims = st.builds(
    Claim,
    st.lists(st.lists(asks, min_size=1, max_size=2).map(tuple), min_size=1, max_size=2).map(tuple),
    attributes,
    attributes,
)


class ByColor:
    """Selects devices by color, without the cost of an expression."""

    def matches(self, text: str, offer: Offer) -> bool:
        return offer.device.attributes["color"].string == text

    def steps(self, _text: str) -> int:
        return 1


def _request(ask: Ask, **name: str) -> dict[str, Any]:
    tolerations = [{"operator": "Exists"}] if ask.tolerates else []
    mode = {"count": ask.number} if ask.number else {"allocationMode": "All"}
    return wanted(*ask.color, tolerations=tolerations, **mode, **name)  # type: ignore[arg-type]  # by name


def _claim(number: int, claim: Claim) -> Any:
    requests = [
        _request(one[0])
        if len(one) == 1
        else {"firstAvailable": [_request(ask, name=f"s{n}") for n, ask in enumerate(one)]}
        for one in claim.requests
    ]
    constraints = []
    if claim.same:
        constraints.append({"matchAttribute": f"{DRIVER}/{claim.same}"})
    if claim.apart:
        constraints.append({"distinctAttribute": f"{DRIVER}/{claim.apart}"})
    return make_claim(f"c{number}", *requests, constraints=constraints)


def _pool(offered: list[Thing]) -> list[Any]:
    counters = [{"name": "s", "counters": {"slots": {"value": str(SLOTS)}}}]
    taint = {"key": "broken", "effect": "NoSchedule"}
    devices = [
        make_device(
            f"d{number}",
            attributes={"color": one.color, "size": one.size, "shape": one.shape},
            taints=[taint] if one.is_broken else [],
            consumesCounters=[
                {"counterSet": "s", "counters": {"slots": {"value": str(one.slots)}}}
            ],
        )
        for number, one in enumerate(offered)
    ]
    pool = {"resourceSliceCount": 2}
    return [
        make_slice("counters", sharedCounters=counters, pool=pool),
        make_slice("devices", *devices, pool=pool),
    ]


def _choices(offered: list[Thing], alternatives: tuple[Ask, ...]) -> Iterator[Any]:
    """Yield each alternative with each set of devices that suit it, for it alone."""
    for index, ask in enumerate(alternatives):
        colored = [n for n, one in enumerate(offered) if ask.color in ("", one.color)]
        usable = [n for n in colored if ask.tolerates or not offered[n].is_broken]
        if ask.number:
            yield from ((index, some) for some in combinations(usable, ask.number))
        elif colored and usable == colored:
            yield index, tuple(colored)


def _is_allowed(offered: list[Thing], wishes: list[Claim], chosen: list[Chosen]) -> bool:
    """Return whether devices chosen for all claims keep the rules that are about several devices."""
    every = [n for one in chosen for _, some in one for n in some]
    if len(set(every)) < len(every) or sum(offered[n].slots for n in every) > SLOTS:
        return False
    for wish, one in zip(wishes, chosen, strict=True):
        things_ = [offered[n] for _, some in one for n in some]
        if wish.same and len({getattr(one, wish.same) for one in things_}) > 1:
            return False
        if wish.apart and len({getattr(one, wish.apart) for one in things_}) < len(things_):
            return False
    return True


def _solutions(offered: list[Thing], wishes: list[Claim]) -> Iterator[list[Chosen]]:
    by_claim = [
        [tuple(one) for one in product(*(list(_choices(offered, r)) for r in wish.requests))]
        for wish in wishes
    ]
    for chosen in product(*by_claim):
        if _is_allowed(offered, wishes, list(chosen)):
            yield list(chosen)


def _read(wish: Claim, found: AllocationResult) -> Chosen:
    """Return an allocation as what was chosen."""
    by_request: dict[str, list[int]] = {}
    for one in found.devices.results:
        by_request.setdefault(one.request, []).append(int(one.device[1:]))
    chosen = []
    for number, alternatives in enumerate(wish.requests):
        names = [f"r{number}"] if len(alternatives) == 1 else [f"r{number}/s0", f"r{number}/s1"]
        (index,) = [n for n, name in enumerate(names) if name in by_request]
        chosen.append((index, tuple(by_request[names[index]])))
    return tuple(chosen)


@settings(max_examples=300, deadline=None)
@given(st.lists(things, min_size=2, max_size=6), st.lists(claims, min_size=1, max_size=2))
def test_it_finds_devices_exactly_where_there_are_some(
    offered: list[Thing], wishes: list[Claim]
) -> None:
    asked = [_claim(number, wish) for number, wish in enumerate(wishes)]
    solutions = list(islice(_solutions(offered, wishes), 1))
    try:
        found = allocate(_pool(offered), *asked, selecting=ByColor())
    except AllocationFailed as error:
        # A constraint and a request for all devices contradict each other, for the devices tried first.
        assert "because a claim constraint would not be satisfied" in str(error)  # noqa: PT017 - not its failure
        return
    if found is None:
        assert not solutions
        return
    chosen = [_read(wish, one) for wish, one in zip(wishes, found, strict=True)]
    assert (
        chosen == solutions[0]
    )  # the first in the order of claims, requests, alternatives and devices
