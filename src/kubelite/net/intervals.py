"""Sets of numbers as intervals: many ranges of addresses or ports become the fewest that mean the same.

nft refuses a set whose intervals overlap, and a rule for each range makes every packet walk through all of them.
"""

from collections.abc import Iterable

from kubelite.net.families import Family, Network

Interval = tuple[int, int]  # first and last


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union as intervals in order, none touching another."""
    found: list[Interval] = []
    for first, last in sorted(intervals):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def without(whole: Interval, holes: Iterable[Interval]) -> list[Interval]:
    """Return the parts of an interval that no hole covers, in order."""
    left: list[Interval] = []
    first, last = whole
    for start, end in merged(holes):
        if start > last:
            break
        if start > first:
            left.append((first, start - 1))
        first = max(first, end + 1)
    if first <= last:
        left.append((first, last))
    return left


def of_network(network: Network) -> Interval:
    """Return the addresses of a network as numbers."""
    return int(network.network_address), int(network.broadcast_address)


def interval_text(interval: Interval, family: Family) -> str:
    """Write an interval of addresses as nft does."""
    first, last = (str(family.address(number)) for number in interval)
    return first if first == last else f"{first}-{last}"


def number_text(interval: Interval) -> str:
    """Write an interval of ports as nft does."""
    first, last = interval
    return str(first) if first == last else f"{first}-{last}"
