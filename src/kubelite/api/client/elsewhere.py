"""Reads of group versions that another API server answers for, by clients inside the server process."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.errors import NotFound, internal_error


class Delegated(Protocol):
    """Knows the group versions of other servers, and reads from them."""

    def serves(self, group: str, version: str) -> bool:
        """Return whether another server answers for a group version."""
        ...

    async def read(self, group: str, version: str, path: str, caller: Caller) -> bytes:
        """Return the body of the answer to a GET on behalf of a caller. Raises APIError."""
        ...


class _List(Struct):
    items: list[msgspec.Raw] | None = None


_lists = msgspec.json.Decoder(_List)


def path_of(attributes: Attributes, *, with_name: bool) -> str:
    """Return the URL path of a request over HTTP."""
    parts = ["apis", attributes.group] if attributes.group else ["api"]
    parts.append(attributes.version)
    if attributes.namespace:
        parts += ["namespaces", attributes.namespace]
    parts.append(attributes.resource)
    if attributes.name and with_name:
        parts.append(attributes.name)
        if attributes.subresource:
            parts.append(attributes.subresource)
    return "/" + "/".join(quote(part, safe="") for part in parts)


def delegated_path(attributes: Attributes, parameters: Mapping[str, str]) -> str:
    """Return path and query of a read at another server.

    Raises NotFound for a name such as ``..``, which the other server may follow to what was not authorized.
    """
    parts = (attributes.namespace, attributes.resource, attributes.name, attributes.subresource)
    for part in parts:
        if part in (".", "..") or "/" in part or "%" in part:
            raise NotFound(f'invalid resource name "{part}"')
    path = path_of(attributes, with_name=attributes.verb == "get")
    return f"{path}?{urlencode(parameters)}" if parameters else path


def items_of(body: bytes) -> Sequence[msgspec.Raw]:
    """Return the undecoded items of a list that another server sent; raises InternalError if it is none."""
    try:
        return _lists.decode(body).items or ()
    except msgspec.DecodeError as error:
        raise internal_error(f"the list of another server cannot be read: {error}") from error
