"""Served resources that never change."""

from collections.abc import Callable, Sequence

from kubelite.api.client.protocol import ServedResource


class StaticResources:
    """Lists what it was given."""

    def __init__(self, resources: Sequence[ServedResource]) -> None:
        self._resources = tuple(resources)

    def resources(self) -> Sequence[ServedResource]:
        return self._resources

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        del listener
        return lambda: None
