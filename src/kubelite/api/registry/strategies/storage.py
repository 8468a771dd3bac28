"""Volumes, claims, and the data that pods are given."""

import base64
from typing import Any

from kubelite.api.registry.strategy import Strategy, WriteContext

JSON = dict[str, Any]


class VolumeStrategy(Strategy):
    """How PersistentVolumes and their claims are written."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Begin as Pending."""
        super().prepare_create(item, context)
        item["status"] = {"phase": "Pending"}


class SecretStrategy(Strategy):
    """How Secrets are written: text is stored encoded like all else."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Encode the text that was sent."""
        super().prepare_create(item, context)
        encode_text(item)

    def prepare_update(
        self, item: JSON, old: JSON, subresource: str, context: WriteContext
    ) -> None:
        """Encode the text that was sent."""
        encode_text(item)
        super().prepare_update(item, old, subresource, context)


def encode_text(secret: JSON) -> None:
    """Move `stringData`, which is only ever written, into `data`."""
    for name, text in (secret.pop("stringData", None) or {}).items():
        data = secret.setdefault("data", {})
        data[name] = base64.b64encode(text.encode()).decode()


class EventStrategy(Strategy):
    """How Events are written: nothing depends on them."""

    collected = False
