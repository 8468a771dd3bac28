"""Decodes JSON to typed objects, with one cached decoder per kind, to dicts, and to what mirrors hold."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from kubelite.api.client.metadata import Sharing
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.object_metadata import ObjectMetadata

K = TypeVar("K", bound=Kind)
Body = bytes | msgspec.Raw

_decoders: dict[type[Kind], "msgspec.json.Decoder[Any]"] = {}
PLAIN: "msgspec.json.Decoder[dict[str, Any]]" = msgspec.json.Decoder(dict[str, Any])


def typed(kind: type[K], body: Body) -> K:
    """Return an object from its JSON; raises msgspec.ValidationError."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    item: K = decoder.decode(body)
    return item


def decoded(type_: Any, body: Body) -> Any:
    """Return an object as `type_`, a Kind or dict."""
    return PLAIN.decode(body) if type_ is dict else typed(type_, body)


def typed_for_mirror(kind: type[K], body: Body) -> K:
    """Return one object as a mirror would hold it."""
    item = typed(kind, body)
    _drop_managers(item)
    return item


def mirror_decoder(type_: Any) -> Callable[[Body], Any]:
    """Return what decodes objects for a mirror, as a Kind, dict or `ObjectMetadata`.

    Managed fields are dropped: they are half of an object's memory, and no component reads them. A write without them
    keeps the stored ones.
    """
    if type_ is dict:
        return _plain_without_managers
    decode = msgspec.json.Decoder(type_).decode
    finish = Sharing() if type_ is ObjectMetadata else _drop_managers

    def decode_one(body: Body) -> Any:
        found = decode(body)
        finish(found)
        return found

    return decode_one


def _drop_managers(item: Any) -> None:
    item.metadata.managedFields.clear()


def _plain_without_managers(body: Body) -> Any:
    item = PLAIN.decode(body)
    item["metadata"].pop("managedFields", None)
    return item
