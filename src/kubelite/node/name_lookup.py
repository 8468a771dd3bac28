"""Looks up the host names that probes and hooks give, so that the slow names of one pod delay no other.

The C library's lookup blocks a thread for as long as name servers are silent, and cannot be cancelled when the probe's
time is up. So a pod has at most one lookup in flight, each in a thread of its own: those of the process, which
everything else uses, are never taken, and the process does not wait for them when it stops.
"""

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

from kubelite.limits import NAME_LOOKUPS

Addresses = tuple[str, ...]
Resolve = Callable[[str], Awaitable[Addresses]]  # a host's addresses; raises OSError


class NameLookups:
    """The lookups of one node."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[Addresses]] = {}  # by pod

    def for_pod(self, uid: str) -> Resolve:
        """Return the resolver of one pod's names, which share its one lookup in flight."""

        async def resolve(host: str) -> Addresses:
            return await self.addresses(uid, host)

        return resolve

    async def addresses(self, pod: str, host: str) -> Addresses:
        """Return a host's addresses; raises OSError, also when too many lookups are under way."""
        if _is_address(host):
            return (host,)
        while (other := self._under_way.get(pod)) is not None:
            await asyncio.wait({other})
        if len(self._under_way) >= NAME_LOOKUPS.value:
            NAME_LOOKUPS.reached()
            raise OSError(f"lookup {host}: too many lookups are under way")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Addresses] = loop.create_future()
        self._under_way[pod] = answer
        answer.add_done_callback(lambda _: self._under_way.pop(pod))

        def settle(found: Addresses | OSError) -> None:
            if isinstance(found, OSError):
                answer.set_exception(found)
                answer.exception()  # the caller may have timed out, so the exception is not fetched
            else:
                answer.set_result(found)

        def look_up() -> None:
            found = _look_up(host)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=look_up, name=f"lookup for pod {pod}", daemon=True).start()
        return await asyncio.shield(answer)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str) -> Addresses | OSError:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except ValueError as error:  # no name that DNS could carry
        return OSError(f"lookup {host}: {error}")
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


async def connect(
    resolve: Resolve, host: str, port: int, *, tls: ssl.SSLContext | None = None, limit: int = 65536
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first of a host's addresses that answers; raises the OSError of the first that does not."""
    first: OSError | None = None
    for address in await resolve(host):
        try:
            return await asyncio.open_connection(
                address, port, ssl=tls, server_hostname=host if tls else None, limit=limit
            )
        except OSError as error:
            first = first or error
    raise first or OSError(f"lookup {host}: no such host")
