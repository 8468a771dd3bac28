"""Finds resolvers that send questions back to the cluster's DNS: each is asked once for a name nobody else knows.

A host's resolver that forwards to the cluster, or a stub domain that points at another cluster that points back, would
otherwise cost every question its time limit.
"""

import logging

from kubelite.limits import DNS_PROBES
from kubelite.net.dns_wire import (
    HEADER,
    HINFO,
    INTERNET,
    RECURSION_DESIRED,
    TYPE_CLASS,
    Name,
    Query,
    encode_name,
)
from kubelite.randomness import Randomness

log = logging.getLogger(__name__)

EVERY_SECONDS = 600.0  # between two probes of a server that is in use
AGAIN_SECONDS = 60.0  # until one that was left out is tried again
LABEL_BYTES = 12  # of randomness in each of the two labels, which makes the name nobody's

Server = tuple[str, int]


class LoopGuard:
    """Which of the servers that were asked send questions back; times are the loop's, in seconds."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._probes: dict[Name, Server] = {}
        self._probed: dict[Server, float] = {}  # when last
        self._looping: set[Server] = set()

    def forget(self) -> None:
        """Begin anew: the settings have changed."""
        self._probes.clear()
        self._probed.clear()
        self._looping.clear()

    def probe(self, server: Server, now: float) -> tuple[bytes, Query] | None:
        """Return the question to ask a server; None if it was asked lately. One that looped is given another try."""
        last = self._probed.get(server)
        wait = AGAIN_SECONDS if server in self._looping else EVERY_SECONDS
        if last is not None and now - last < wait:
            return None
        if last is None and len(self._probed) >= DNS_PROBES.value:
            DNS_PROBES.reached()
            return None
        self._probed[server] = now
        self._looping.discard(server)
        self._probes = {name: asked for name, asked in self._probes.items() if asked != server}
        name = tuple(self._randomness.token_bytes(LABEL_BYTES).hex().encode() for _ in range(2))
        self._probes[name] = server
        section = encode_name(name) + TYPE_CLASS.pack(HINFO, INTERNET)
        head = HEADER.pack(0, RECURSION_DESIRED, 1, 0, 0, 0)
        return head + section, Query(0, RECURSION_DESIRED, name, HINFO, section)

    def came_back(self, name: Name) -> bool:
        """Return whether a name is that of a probe; the server that was asked for it is then left out."""
        server = self._probes.get(name)
        if server is None:
            return False
        if server not in self._looping:
            self._looping.add(server)
            log.warning(
                "a resolver sends questions back to the cluster's DNS; it is left out",
                extra={"server": f"{server[0]} port {server[1]}"},
            )
        return True

    def loops(self, server: Server) -> bool:
        """Return whether a server was found to send questions back."""
        return server in self._looping
