# ruff: noqa: ARG002 - not every hook uses all its arguments
"""Namespaces: spec.finalizers keep a namespace until its content is deleted."""

from typing import Any

from kubelite.api.registry.strategies.pods import keep_metadata
from kubelite.api.registry.strategy import Strategy, WriteContext, keep

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"

JSON = dict[str, Any]


class NamespaceStrategy(Strategy):
    """The write hooks of Namespaces."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Set the phase Active and the finalizer that the namespace controller removes from an empty namespace."""
        super().prepare_create(item, context)
        finalizers = item.setdefault("spec", {}).setdefault("finalizers", [])
        if FINALIZER not in finalizers:
            finalizers.append(FINALIZER)
        item["status"] = {"phase": "Active"}

    def finish(self, item: JSON, old: JSON | None, context: WriteContext) -> None:
        """Label the namespace with its name, for namespace selectors."""
        item["metadata"].setdefault("labels", {})[NAME_LABEL] = item["metadata"]["name"]

    def prepare_update(
        self, item: JSON, old: JSON, subresource: str, context: WriteContext
    ) -> None:
        """Let only the finalize subresource change spec.finalizers."""
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
        """Return whether spec.finalizers are left."""
        return bool(item.get("spec", {}).get("finalizers"))

    def mark_deleted(self, item: JSON) -> None:
        """Set the phase Terminating."""
        item.setdefault("status", {})["phase"] = "Terminating"
