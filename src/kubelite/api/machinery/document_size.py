"""The memory that a document takes, estimated before it is decoded.

Three bytes of JSON become an object of 64, two bytes of protobuf one with all its defaults. Every value and every name
is charged `NODE_BYTES` and the bytes of its text. That is within a third of what CPython takes for any body, and more
than it takes for numbers. A document may cost `limits.DOCUMENT`.
"""

from __future__ import annotations

import re

from kubelite.api.errors import RequestEntityTooLarge
from kubelite.limits import DOCUMENT

NODE_BYTES = 64
DENSEST = 32  # bytes of memory charged for a byte of the densest JSON, a list of digits

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SIGNS = (b",", b":", b"{", b"[")


def too_large() -> RequestEntityTooLarge:
    """Return the error for a document that would take too much memory, and count it."""
    DOCUMENT.reached()
    return RequestEntityTooLarge(
        f"Request entity too large: the values of the document take more than {DOCUMENT.value} bytes"
    )


def check_json(body: bytes) -> None:
    """Check a body of JSON, which need not be well-formed; raises RequestEntityTooLarge."""
    if len(body) * DENSEST > DOCUMENT.value and json_cost(body) > DOCUMENT.value:
        raise too_large()


def json_cost(body: bytes) -> int:
    """Return the bytes of memory charged for JSON."""
    cost = _cost(body)
    if cost > DOCUMENT.value:  # may be due to commas in its texts
        cost = _cost(_STRINGS.sub(b"", body)) + len(body)
    return cost


def _cost(body: bytes) -> int:
    return len(body) + NODE_BYTES * (1 + sum(map(body.count, _SIGNS)))


class Meter:
    """Charges a document while it is decoded; each method raises RequestEntityTooLarge."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = DOCUMENT.value

    def charge(self, size_bytes: int, nodes: int = 1) -> None:
        """Charge `nodes` values or names with texts of `size_bytes` together."""
        self.left -= size_bytes + NODE_BYTES * nodes
        if self.left < 0:
            raise too_large()


def text_size(text: str) -> int:
    """Return the bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
