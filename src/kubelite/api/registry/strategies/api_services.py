"""APIServices: a local one is available from its creation, and a write of the status changes nothing else.

Source: kube-aggregator's strategies of APIServices.
"""

from typing import Any

from kubelite.api.machinery.api_availability import local_condition
from kubelite.api.machinery.times import format_time
from kubelite.api.registry.strategy import Strategy, WriteContext, keep

JSON = dict[str, Any]
KEPT_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")


class APIServiceStrategy(Strategy):
    """The write hooks of APIServices."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Mark a local one as available, since this server serves it."""
        super().prepare_create(item, context)
        if (item.get("spec") or {}).get("service") is None:
            item["status"] = {"conditions": [local_condition(format_time(context.now))]}

    def prepare_part(self, item: JSON, old: JSON, subresource: str, context: WriteContext) -> None:
        """Keep spec and metadata from a write of the status."""
        super().prepare_part(item, old, subresource, context)
        for name in KEPT_METADATA:
            keep(item["metadata"], old["metadata"], name)
