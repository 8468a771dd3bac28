"""Finds devices on one node for all claims of a pod: the first solution of a search that tries every one.

Claims, requests and devices are tried in order, and of a request's alternatives the first that can be had. Within a
request only the set of devices matters, so each set is tried once. The order, and which devices are acceptable, are
those of Kubernetes 1.36 with the features that it has on by default. The search is a generator of steps, and fails
past a number of them, as upstream's does after a time.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, Protocol

from kubelite.api.kinds.resource import DeviceCounterConsumption
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.control.scheduler.devices.capacity import consumed, is_enough
from kubelite.control.scheduler.devices.constraints import Constraint, constraint_of
from kubelite.control.scheduler.devices.pools import (
    DeviceKey,
    Offer,
    Pool,
    PoolKey,
    device_is_for,
)
from kubelite.control.scheduler.devices.protocol import AllocationFailed
from kubelite.control.scheduler.devices.requests import RESULTS_MAX, Asked, Wanted
from kubelite.control.scheduler.devices.results import Picked
from kubelite.control.scheduler.devices.usage import NOTHING, Usage
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.steps import YIELD_EVERY, Steps
from kubelite.limits import ALLOCATION_STEPS

STEPS_BEFORE_COUNTING: Final = 4_000  # of a search that has found nothing so far

CounterKey = tuple[PoolKey, str, str]  # pool, set and name


class InvalidPools(Exception):
    """Nothing was found, and some pools of the node contradict themselves."""


class TookTooLong(Exception):
    """The search takes more steps than one node may."""


class Selecting(Protocol):
    """Evaluates selectors of devices."""

    def matches(self, text: str, offer: Offer) -> bool:
        """Return whether an expression selects a device. Raises AllocationFailed with what is wrong with it."""
        ...

    def steps(self, text: str) -> int:
        """Return about how many steps that takes."""
        ...


class Solution(NamedTuple):
    """For each claim the alternatives of its requests, and the devices."""

    chosen: list[list[Wanted]]
    picked: list[list[Picked]]


class _Position(NamedTuple):
    """Where the search is: what it looks for next. `alternative` -1: it is not chosen yet."""

    claim: int
    request: int = 0
    alternative: int = -1
    taken: int = 0  # devices for this request
    start: int = 0  # in the devices that fit it


_DONE: Final = _Position(-1)
_PAUSE: Final = _Position(-2)


class _Taken(NamedTuple):
    """What taking a device changed."""

    claim: int
    picked: Picked
    constraints: tuple[Constraint, ...]
    counters: bool


class Allocator:
    """Searches on one node, once."""

    def __init__(
        self,
        node: NodeInfo,
        claims: Sequence[Asked],
        pools: Sequence[Pool],
        usage: Usage,
        selecting: Selecting,
    ) -> None:
        self._node = node
        self._claims = claims
        self._pools = pools
        self._usage = usage
        self._selecting = selecting
        usable = [pool for pool in pools if not pool.is_incomplete and not pool.invalid]
        self._offers = [offer for pool in usable for offer in pool.offers]
        self._constraints: list[list[Constraint]] = []
        self._chosen = [[0] * len(one.requests) for one in claims]
        self._picked: list[list[Picked]] = [[] for _ in claims]
        self._taken: list[_Taken] = []
        self._holders: dict[DeviceKey, set[int]] = {}  # the claims that hold a whole device
        self._amounts: dict[DeviceKey, list[dict[str, Decimal]]] = {}  # of shared devices
        self._counters: dict[PoolKey, dict[CounterKey, Decimal]] = {}  # what is left
        self._steps = 0

    def allocate(self) -> Steps[Solution | None]:
        """Return the devices for all claims, None if the node does not have them.

        Raises AllocationFailed if a claim or class is wrong, InvalidPools, and TookTooLong.
        """
        yield from self._prepare()
        is_hopeless = yield from self._is_hopeless()
        if not is_hopeless and (yield from self._search()):
            chosen = [
                [
                    alternatives[index]
                    for alternatives, index in zip(one.requests, picks, strict=True)
                ]
                for one, picks in zip(self._claims, self._chosen, strict=True)
            ]
            return Solution(chosen, self._picked)
        if any(pool.invalid for pool in self._pools):
            raise InvalidPools
        return None

    # --- before the search

    def _prepare(self) -> Steps[None]:
        for asked in self._claims:
            least = 0
            for alternatives in asked.requests:
                for wanted in alternatives:
                    if wanted.is_all:
                        yield from self._find_all(asked, wanted)
                least += min((one.count for one in alternatives), default=0)
            if least > RESULTS_MAX:
                raise AllocationFailed(
                    f"claim {asked.name}: number of requested devices {least} "
                    f"exceeds the claim limit of {RESULTS_MAX}"
                )
            self._constraints.append(list(self._read_constraints(asked)))

    def _read_constraints(self, asked: Asked) -> Iterator[Constraint]:
        for number, one in enumerate(asked.claim.spec.devices.constraints):
            constraint = constraint_of(one)
            if constraint is None:
                problem = "empty constraint (unsupported constraint type?)"
                raise AllocationFailed(f"claim {asked.name}, constraint #{number}: {problem}")
            yield constraint

    def _find_all(self, asked: Asked, wanted: Wanted) -> Steps[None]:
        """Find the devices of a request for all of them, whether or not they are in use."""
        about = f"claim {asked.name}, request {wanted.name}: asks for all devices"
        for pool in self._pools:
            state = "being updated" if pool.is_incomplete else "invalid" if pool.invalid else ""
            if state:
                raise AllocationFailed(
                    f"{about}, but resource pool {pool.name} is currently {state}"
                )
            for offer in pool.offers:
                if self._is_selected(asked, wanted, offer) and self._has_room(wanted, offer):
                    wanted.everything.append(offer)
                if self._steps >= YIELD_EVERY:
                    yield self._spent()
        wanted.count = len(wanted.everything)

    def _is_selected(self, asked: Asked, wanted: Wanted, offer: Offer) -> bool:
        """Return whether the class, the request and the device itself allow the device."""
        self._steps += 1
        found = wanted.device_class
        groups = (
            (f"class {found.metadata.name}", found.spec.selectors),
            (f"claim {asked.name}", wanted.selectors),
        )
        for about, selectors in groups:
            for number, selector in enumerate(selectors):
                text = selector.cel.expression if selector.cel is not None else ""
                self._steps += self._selecting.steps(text)
                try:
                    if not self._selecting.matches(text, offer):
                        return False
                except AllocationFailed as error:
                    raise AllocationFailed(f"{about}: selector #{number}: {error}") from None
        is_each = offer.slice.spec.perDeviceNodeSelection
        return not is_each or device_is_for(self._node, offer.device)

    def _is_hopeless(self) -> Steps[bool]:
        """Return whether some request finds too few devices even alone, so that no search need find that out."""
        for claim, asked in enumerate(self._claims):
            for alternatives in asked.requests:
                for wanted in alternatives:
                    if (yield from self._may_be_met(claim, wanted)):
                        break
                else:
                    return True
        return False

    def _may_be_met(self, claim: int, wanted: Wanted) -> Steps[bool]:
        if wanted.is_all:
            return bool(wanted.everything)
        while len(wanted.fitting) < wanted.count and self._look_at_one(claim, wanted):
            if self._steps >= YIELD_EVERY:
                yield self._spent()
        return len(wanted.fitting) >= wanted.count

    # --- the search

    def _search(self) -> Steps[bool]:
        """Go through the positions depth first. The stack is our own, since a pod may have any number of claims."""
        total, is_counted = 0, False
        stack = [self._moves(_Position(0))]
        while stack:
            move = next(stack[-1], None)
            self._steps += 1
            if self._steps >= YIELD_EVERY:
                total += self._steps
                if not is_counted and total > STEPS_BEFORE_COUNTING:
                    is_counted = True
                    if (yield from self._is_short()):
                        return False
                if total > ALLOCATION_STEPS.value:
                    ALLOCATION_STEPS.reached()
                    raise TookTooLong
                yield self._spent()
            if move is None:
                stack.pop()
            elif move is _DONE:
                return True
            elif move is not _PAUSE:
                stack.append(self._moves(move))
        return False

    def _is_short(self) -> Steps[bool]:
        """Return whether requests that can only have the same devices want more than there are.

        The search would find that out too, but only after it has tried every set of devices for the first of them.
        """
        wanted: list[tuple[frozenset[DeviceKey], int]] = []
        for claim, asked in enumerate(self._claims):
            for alternatives in asked.requests:
                only = alternatives[0]
                if len(alternatives) > 1 or only.is_all or only.is_admin:
                    continue
                try:
                    while self._look_at_one(claim, only):
                        if self._steps >= YIELD_EVERY:
                            yield self._spent()
                except AllocationFailed:
                    return False  # of a device that the search may never come to
                if not any(offer.is_shared for offer in only.fitting):
                    keys = frozenset(offer.key for offer in only.fitting)
                    wanted.append((keys, only.count))
        return any(
            sum(count for keys, count in wanted if keys <= some) > len(some)
            for some in {keys for keys, _ in wanted}
        )

    def _spent(self) -> int:
        steps, self._steps = self._steps, 0
        return steps

    def _moves(self, at: _Position) -> Iterator[_Position]:
        """Make one choice after the other, and take it back before the next."""
        if at.claim == len(self._claims):
            yield _DONE
            return
        asked = self._claims[at.claim]
        if at.request == len(asked.requests):
            yield _Position(at.claim + 1)
        elif at.alternative < 0:
            yield from self._alternatives(at)
        else:
            wanted = asked.requests[at.request][at.alternative]
            if at.taken == wanted.count:
                if wanted.count or not wanted.is_all:
                    yield _Position(at.claim, at.request + 1)
            elif wanted.is_all:
                yield from self._next_of_all(at, wanted)
            else:
                yield from self._devices(at, wanted)

    def _alternatives(self, at: _Position) -> Iterator[_Position]:
        asked = self._claims[at.claim]
        rest = sum(
            min((one.count for one in alternatives), default=0)
            for alternatives in asked.requests[at.request + 1 :]
        )
        done = len(self._picked[at.claim])
        for index, wanted in enumerate(asked.requests[at.request]):
            if done + wanted.count + rest <= RESULTS_MAX:
                self._chosen[at.claim][at.request] = index
                yield _Position(at.claim, at.request, index)

    def _next_of_all(self, at: _Position, wanted: Wanted) -> Iterator[_Position]:
        offer = wanted.everything[at.taken]
        if not self._is_free(wanted, offer) or not wanted.tolerates(offer):
            return
        if self._take(at.claim, wanted, offer, must=True):
            yield at._replace(taken=at.taken + 1)
            self._give_back()

    def _devices(self, at: _Position, wanted: Wanted) -> Iterator[_Position]:
        index = at.start
        needed = wanted.count - at.taken
        while True:
            while len(wanted.fitting) < index + needed and self._look_at_one(at.claim, wanted):
                if self._steps >= YIELD_EVERY:
                    yield _PAUSE
            if len(wanted.fitting) < index + needed:
                return  # there are not enough, whichever are taken
            offer = wanted.fitting[index]
            index += 1
            self._steps += 1
            if self._take(at.claim, wanted, offer):
                yield at._replace(taken=at.taken + 1, start=index)
                self._give_back()
            elif self._steps >= YIELD_EVERY:
                yield _PAUSE

    def _look_at_one(self, claim: int, wanted: Wanted) -> bool:
        """Add one more device to those that fit a request if it does; return whether there was any."""
        if wanted.looked_at == len(self._offers):
            return False
        offer = self._offers[wanted.looked_at]
        wanted.looked_at += 1
        self._steps += 1
        if (
            (wanted.is_admin or not self._usage.has_whole(offer.key))
            and self._is_selected(self._claims[claim], wanted, offer)
            and self._has_room(wanted, offer)
            and wanted.tolerates(offer)
        ):
            wanted.fitting.append(offer)
        return True

    # --- one device

    def _is_free(self, wanted: Wanted, offer: Offer) -> bool:
        return wanted.is_admin or not self._usage.has_whole(offer.key)

    def _has_room(self, wanted: Wanted, offer: Offer) -> bool:
        """Return whether a device has the capacities that a request takes, beside what is taken of them."""
        capacities = offer.device.capacity
        if wanted.capacity is None and not capacities:
            return True
        self._steps += 10 * len(capacities)
        pending: dict[str, Decimal] = {}
        for amounts in self._amounts.get(offer.key, ()):
            for name, amount in amounts.items():
                pending[name] = pending.get(name, Decimal(0)) + amount
        taken = self._usage.amounts(offer.key) if offer.is_shared else NOTHING
        return is_enough(wanted.capacity, capacities, taken, pending)

    def _take(self, claim: int, wanted: Wanted, offer: Offer, *, must: bool = False) -> bool:
        """Take a device that fits, unless other devices taken meanwhile or a constraint forbid it.

        Raises AllocationFailed if it `must` be this device and a constraint forbids it.
        """
        holders = self._holders.get(offer.key)
        if holders and (claim in holders or not wanted.is_admin):
            return False
        if offer.is_shared and not self._has_room(wanted, offer):
            return False
        uses = offer.device.consumesCounters
        if uses and offer.is_shared:
            # Its counters are in use already if anyone has a share.
            is_first = not self._usage.has_share(offer.key) and not self._amounts.get(offer.key)
            uses = uses if is_first else []
        if uses and not self._count_down(offer, uses):
            return False
        constraints = self._constrained(claim, wanted, offer)
        if constraints is None:
            if uses:
                self._count_up(offer, uses)
            if must:
                raise AllocationFailed(
                    f"claim {self._claims[claim].name}, request {wanted.name}: cannot add device "
                    f"{'/'.join(offer.key)} because a claim constraint would not be satisfied"
                )
            return False
        picked = Picked(offer, wanted)
        if offer.is_shared:
            amounts = consumed(wanted.capacity, offer.device.capacity)
            picked = Picked(offer, wanted, amounts)
            plain = {name: amount.amount for name, amount in amounts.items()}
            self._amounts.setdefault(offer.key, []).append(plain)
        else:
            self._holders.setdefault(offer.key, set()).add(claim)
        self._picked[claim].append(picked)
        self._taken.append(_Taken(claim, picked, constraints, counters=bool(uses)))
        return True

    def _give_back(self) -> None:
        """Take back the device taken last."""
        taken = self._taken.pop()
        self._picked[taken.claim].pop()
        offer = taken.picked.offer
        if offer.is_shared:
            self._amounts[offer.key].pop()
        else:
            self._holders[offer.key].discard(taken.claim)
        for constraint in taken.constraints:
            constraint.remove(offer)
        if taken.counters:
            self._count_up(offer, offer.device.consumesCounters)

    def _constrained(
        self, claim: int, wanted: Wanted, offer: Offer
    ) -> tuple[Constraint, ...] | None:
        """Add a device to the constraints that concern it; None if one of them forbids it."""
        added: list[Constraint] = []
        for constraint in self._constraints[claim]:
            if not constraint.concerns(wanted.request, wanted.whole_name):
                continue
            self._steps += 1
            if not constraint.add(offer):
                for other in added:
                    other.remove(offer)
                return None
            added.append(constraint)
        return tuple(added)

    # --- counters that the devices of a pool share

    def _count_down(self, offer: Offer, uses: Sequence[DeviceCounterConsumption]) -> bool:
        """Take what a device uses from the counters of its pool; return False if they do not have it."""
        left = self._left(offer.pool)
        wanted = list(_amounts(offer.pool, uses))
        self._steps += len(wanted)
        for key, amount in wanted:
            left[key] -= amount
        if all(left[key] >= 0 for key, _ in wanted):
            return True
        for key, amount in wanted:
            left[key] += amount
        return False

    def _count_up(self, offer: Offer, uses: Sequence[DeviceCounterConsumption]) -> None:
        left = self._left(offer.pool)
        for key, amount in _amounts(offer.pool, uses):
            left[key] += amount

    def _left(self, pool: Pool) -> dict[CounterKey, Decimal]:
        """Return what the devices that are given out leave of a pool's counters."""
        left = self._counters.get(pool.key)
        if left is not None:
            return left
        left = self._counters[pool.key] = {
            (pool.key, one.name, name): parse_quantity(counter.value).amount
            for one in pool.counters.values()
            for name, counter in one.counters.items()
        }
        here = [(offer.key, offer.device) for offer in pool.offers]
        there = [
            ((*pool.key, device.name), device)
            for one in pool.elsewhere
            for device in one.spec.devices
        ]
        for key, device in (*here, *there):
            self._steps += 1
            if self._usage.has_whole(key) or self._usage.has_share(key):
                for used, amount in _amounts(pool, device.consumesCounters):
                    left[used] -= amount
        return left


def _amounts(
    pool: Pool, uses: Sequence[DeviceCounterConsumption]
) -> Iterator[tuple[CounterKey, Decimal]]:
    for one in uses:
        for name, counter in one.counters.items():
            yield (pool.key, one.counterSet, name), parse_quantity(counter.value).amount
