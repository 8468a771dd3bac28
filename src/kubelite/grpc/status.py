"""The status of a gRPC call: its code, and its message as it stands in the trailers."""

from enum import IntEnum
from urllib.parse import quote, unquote_to_bytes

MESSAGE_BYTES_MAX = 8 * 1024  # of a message in trailers that this process sends


class Code(IntEnum):
    """The status codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# How the code of a call is written in the texts of Go programs: ``rpc error: code = NotFound desc = …``.
NAMES = {code: "".join(part.capitalize() for part in code.name.split("_")) for code in Code} | {
    Code.OK: "OK",
    Code.CANCELLED: "Canceled",
}


class GrpcError(Exception):
    """A call failed; `message` is what the other side says."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"rpc error: code = {NAMES[self.code]} desc = {self.message}"


def code_of(text: str) -> Code:
    """Return the code that a peer sent as a number; UNKNOWN for one that gRPC does not define."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 2 else -1
    return Code(number) if 0 <= number <= max(Code) else Code.UNKNOWN


def encode_message(message: str) -> str:
    """Percent-encode a status message for a header, cut to `MESSAGE_BYTES_MAX`."""
    kept = message.encode("utf-8", "replace")[:MESSAGE_BYTES_MAX].decode("utf-8", "ignore")
    return quote(kept, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")


def decode_message(text: str) -> str:
    """Decode a percent-encoded status message; what is not UTF-8 is replaced."""
    return unquote_to_bytes(text).decode("utf-8", "replace")


# What a response without gRPC's trailers means, by its HTTP status.
HTTP_CODES = {
    "400": Code.INTERNAL,
    "401": Code.UNAUTHENTICATED,
    "403": Code.PERMISSION_DENIED,
    "404": Code.UNIMPLEMENTED,
    "429": Code.UNAVAILABLE,
    "502": Code.UNAVAILABLE,
    "503": Code.UNAVAILABLE,
    "504": Code.UNAVAILABLE,
}
