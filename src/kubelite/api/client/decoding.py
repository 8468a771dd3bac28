"""Decodes JSON to typed objects, with one cached decoder per kind."""

from typing import Any, TypeVar

import msgspec

from kubelite.api.kinds.model import Kind

K = TypeVar("K", bound=Kind)

_decoders: dict[type[Kind], "msgspec.json.Decoder[Any]"] = {}


def typed(kind: type[K], body: bytes | msgspec.Raw) -> K:
    """Return an object from its JSON; raises msgspec.ValidationError."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    item: K = decoder.decode(body)
    return item
