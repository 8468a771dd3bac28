# ruff: noqa: ARG002 - not every hook uses all its arguments
"""Custom resources: what a write of the object changes, and what one of its status."""

from typing import Any

from kubelite.api.errors import Forbidden
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.strategy import Conduct, Strategy, WriteContext

JSON = dict[str, Any]


class CustomStrategy(Strategy):
    """The write hooks of custom resources."""

    def __init__(self, conduct: Conduct, *, ending: tuple[str, str] | None = None) -> None:
        """`ending`: plural and group of a resource whose definition is being deleted, so that nothing is created."""
        super().__init__(conduct)
        self._ending = ending

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Refuse an object of a resource that ends."""
        if self._ending is not None:
            plural, group = self._ending
            name = item["metadata"].get("name", "")
            raise Forbidden(
                f"{plural}.{group} {quoted(name)} is forbidden: create not allowed while custom resource "
                "definition is terminating",
                group=group,
                kind=plural,
                name=name,
            )
        super().prepare_create(item, context)

    def prepare_part(self, item: JSON, old: JSON, subresource: str, context: WriteContext) -> None:
        """Restore from `old` all but the status and its owners, the other metadata included."""
        assert subresource == "status", f"{subresource} is no part of a custom resource"
        status, owners = item.get("status"), item["metadata"].get("managedFields")
        item.clear()
        item.update(old)
        item["metadata"] = dict(old["metadata"])
        if owners is not None:
            item["metadata"]["managedFields"] = owners
        item.pop("status", None)
        if status is not None:
            item["status"] = status

    def count(self, item: JSON, old: JSON) -> None:
        """Increment the generation if anything changed but the metadata, and a status that has a path of its own."""
        ignored = {"metadata"} | ({"status"} if self.conduct.has_status else set())
        if any(item.get(name) != old.get(name) for name in {*item, *old} - ignored):
            item["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
