"""CustomResourceDefinitions: which versions have been stored, and a finalizer that waits until their objects end."""

from datetime import datetime
from typing import Any

from kubelite.api.machinery.definition_status import begin_deletion, new_status, updated_status
from kubelite.api.registry.strategy import Strategy, WriteContext

JSON = dict[str, Any]


class DefinitionStrategy(Strategy):
    """The write hooks of CustomResourceDefinitions."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Set the first stored version."""
        super().prepare_create(item, context)
        item["status"] = new_status(item)

    def prepare_update(
        self, item: JSON, old: JSON, subresource: str, context: WriteContext
    ) -> None:
        """Add a new storage version to the stored ones."""
        super().prepare_update(item, old, subresource, context)
        if not subresource:
            item["status"] = updated_status(item, old)

    def begin_deletion(self, item: JSON, now: datetime) -> bool:
        """Add the finalizer that waits for the objects, and say that they will be deleted."""
        begin_deletion(item, now)
        return True
