"""Write hooks of volumes, claims and Secrets."""

import base64
from typing import Any

from kubelite.api.registry.strategy import Strategy, WriteContext

JSON = dict[str, Any]


class VolumeStrategy(Strategy):
    """The write hooks of PersistentVolumes and PersistentVolumeClaims."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Set the phase Pending."""
        super().prepare_create(item, context)
        item["status"] = {"phase": "Pending"}


class SecretStrategy(Strategy):
    """The write hooks of Secrets: stringData is stored in data."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Move stringData into data."""
        super().prepare_create(item, context)
        encode_text(item)

    def prepare_update(
        self, item: JSON, old: JSON, subresource: str, context: WriteContext
    ) -> None:
        """Move stringData into data."""
        encode_text(item)
        super().prepare_update(item, old, subresource, context)


def encode_text(secret: JSON) -> None:
    """Move the write-only `stringData` into `data`, encoded as base64."""
    for name, text in (secret.pop("stringData", None) or {}).items():
        data = secret.setdefault("data", {})
        data[name] = base64.b64encode(text.encode()).decode()
