# ruff: noqa: ARG002 - not every hook needs all it is given
"""Namespaces: they end only when their content is gone, which their own finalizer list says."""

from typing import Any

from kubelite.api.registry.strategies.pods import keep_metadata
from kubelite.api.registry.strategy import Strategy, WriteContext, keep

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"

JSON = dict[str, Any]


class NamespaceStrategy(Strategy):
    """How namespaces are written."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Begin as Active, held until the namespace controller has emptied it."""
        super().prepare_create(item, context)
        finalizers = item.setdefault("spec", {}).setdefault("finalizers", [])
        if FINALIZER not in finalizers:
            finalizers.append(FINALIZER)
        item["status"] = {"phase": "Active"}

    def finish(self, item: JSON, old: JSON | None, context: WriteContext) -> None:
        """Label the namespace with its name, for selectors of namespaces."""
        item["metadata"].setdefault("labels", {})[NAME_LABEL] = item["metadata"]["name"]

    def prepare_update(
        self, item: JSON, old: JSON, subresource: str, context: WriteContext
    ) -> None:
        """Keep finalizers from everything but the finalize subresource."""
        if subresource == "finalize":
            keep(item, old, "status")
            finalizers = item.get("spec", {}).get("finalizers")
            item["spec"] = {"finalizers": finalizers} if finalizers else {}
            keep_metadata(item, old)
        else:
            keep(item, old, "spec")
            if not subresource:
                keep(item, old, "status")

    def holds(self, item: JSON) -> bool:
        """Stay until the content is gone."""
        return bool(item.get("spec", {}).get("finalizers"))

    def mark_deleted(self, item: JSON) -> None:
        """Show that the namespace goes."""
        item.setdefault("status", {})["phase"] = "Terminating"
