"""The headers that tell another API server who calls, as Kubernetes' front proxy sends them.

The other server believes them from whoever shows the front proxy's certificate. So none that a client sent is passed
on, also not in a spelling that some servers take for the same name, and none may end early or begin another.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote

from kubelite.api.auth.caller import SYSTEM_MASTERS, Caller
from kubelite.api.auth.front_proxies import EXTRA, GROUP, UID, USER

PREFIX = "x-remote-"
# Set by the proxy itself.
OWN = frozenset({"audit-id", "x-forwarded-uri", "x-forwarded-host", "x-forwarded-proto"})
# Punctuation that a header name may have (RFC 9110, 5.6.2); the percent sign begins an escape.
NAME_PUNCTUATION = "!#$&'*+-.^_`|~"
BROKEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# Who asks for documents and whether a server answers, as upstream.
AGGREGATOR = Caller("system:kube-aggregator", (SYSTEM_MASTERS,))
DOCUMENT_READER = Caller("system:aggregator")


class Unsendable(Exception):
    """An identity cannot be said in a header without becoming another; the message names the header."""


def is_replaced(name: str) -> bool:
    """Return whether a client's header is left out; `name` is in lower case.

    Servers that follow CGI (RFC 3875) read ``x_remote_user`` as ``x-remote-user``.
    """
    return name in OWN or name.replace("_", "-").startswith(PREFIX)


def identity_headers(caller: Caller) -> list[tuple[str, str]]:
    """Return the headers that name a caller. Raises Unsendable."""
    headers = list(_headers(caller))
    for name, value in headers:
        # Servers trim values, so that " admin" would become admin.
        if BROKEN.search(value) or value != value.strip(" \t"):
            raise Unsendable(f'net/http: invalid header field value for "{name}"')
    return headers


def _headers(caller: Caller) -> Iterator[tuple[str, str]]:
    yield USER, caller.user
    if caller.uid:
        yield UID, caller.uid
    for group in caller.groups:
        yield GROUP, group
    for key, values in caller.extra.items():
        for value in values:
            yield EXTRA + escaped(key), value


def escaped(key: str) -> str:
    """Return a key of extra information as a part of a header name: other characters are percent-encoded."""
    return quote(key, safe=NAME_PUNCTUATION, encoding="utf-8", errors="surrogatepass")
