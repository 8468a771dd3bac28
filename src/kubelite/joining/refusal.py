"""Why a machine has not joined, as one line for the user."""

import errno
import os
import socket
import ssl

from kubelite.api.errors import APIError, Unauthorized


class JoinFailed(Exception):
    """An attempt to join failed; `may_pass` says whether to try again can help."""

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class CertificateRefused(JoinFailed):
    """The server does not accept the node's certificate; a token may help."""


def of_connection(server: str, error: Exception, *, seconds: float) -> JoinFailed:
    """Return why no connection to `server` came about, after at most `seconds`."""
    if isinstance(error, TimeoutError):
        return JoinFailed(f"cannot reach {server}: no answer within {seconds:.0f} s", may_pass=True)
    if isinstance(error, socket.gaierror):
        # A name that does not exist is most likely misspelt; a resolver that does not answer may come up later.
        passes = error.errno == socket.EAI_AGAIN
        return JoinFailed(f"cannot find {server}: {error.strerror}; see --join", may_pass=passes)
    if isinstance(error, ssl.SSLError) and not isinstance(
        error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    ):
        reason = (error.reason or "unknown").replace("_", " ").lower()
        return JoinFailed(f"cannot use {server}: it does not speak TLS as an API server: {reason}")
    reason = _text_of(error)
    return JoinFailed(f"cannot reach {server}: {reason}", may_pass=True)


def _text_of(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number in errno.errorcode:
        return os.strerror(number)  # asyncio's own text names the addresses, maybe many
    return " ".join(str(error).split()) or type(error).__name__


def of_answer(server: str, what: str, error: APIError, *, by_token: bool) -> JoinFailed:
    """Return why `server` refused to do `what` ("read the cluster's settings") for a token or for the node itself."""
    if isinstance(error, Unauthorized) and by_token:
        why = "it never existed, has expired, was used or was deleted"
        if error.message != "Unauthorized":  # which of these it is the server may keep to itself
            why = error.message
        return JoinFailed(
            f"cannot join {server}: it does not accept the token: {why}; make a new one on the server: "
            "kubelite token create"
        )
    if isinstance(error, Unauthorized):
        why = "" if error.message == "Unauthorized" else f": {error.message}"
        return CertificateRefused(
            f"cannot {what} at {server}: it does not accept this node's certificate{why}; to join again, give a "
            "new token, made on the server: kubelite token create"
        )
    passes = error.code >= 500 or error.code in (408, 429) or not by_token
    return JoinFailed(f"cannot {what} at {server}: {error.message}", may_pass=passes)
