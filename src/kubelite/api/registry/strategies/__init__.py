"""What is special about writing objects of one kind; one file per kind.

A kind that is not listed behaves as `Strategy` says.
"""

from collections.abc import Mapping

from kubelite.api.registry.resources import Resource
from kubelite.api.registry.strategy import Strategy

STRATEGIES: Mapping[str, type[Strategy]] = {}


def strategy_of(resource: Resource) -> Strategy:
    """Return a new strategy for a resource, by the name of its storage."""
    return STRATEGIES.get(resource.storage, Strategy)(resource)
