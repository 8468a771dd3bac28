"""The endpoints behind the routes, as the proxy uses them: chosen in turn, set aside when they fail, drained."""

from collections.abc import Collection

from msgspec import Struct

SET_ASIDE_SECONDS = 5.0  # that an endpoint which failed is not chosen while there are others


HTTP_1, HTTP_2 = "", "h2c"


class BackendTLS(Struct, frozen=True):
    """How an endpoint is trusted."""

    host: str  # that is asked for (SNI), and that the certificate must have unless `names` say otherwise
    authorities: bytes = b""  # their certificates (PEM); b"": those of the system
    names: tuple[str, ...] = ()  # one of which the certificate must have: host names, or URIs
    is_verified: bool = True


class Speech(Struct, frozen=True):
    """What endpoints speak."""

    protocol: str = HTTP_1
    tls: BackendTLS | None = None


PLAIN = Speech()


class Endpoints:
    """The addresses of one set of endpoints."""

    __slots__ = ("_addresses", "_failed", "_next", "speech")

    def __init__(self, addresses: tuple[str, ...] = ()) -> None:
        self._addresses = addresses
        self.speech = PLAIN
        self._failed: dict[str, float] = {}  # address -> until when it is set aside
        self._next = 0

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All endpoints, as IP:PORT."""
        return self._addresses

    def __contains__(self, address: str) -> bool:
        return address in self._addresses

    def replace(self, addresses: tuple[str, ...]) -> None:
        """Use these addresses from now on; what is known of those that stay is kept."""
        self._addresses = addresses
        self._failed = {one: date for one, date in self._failed.items() if one in addresses}

    def failed(self, address: str, now: float) -> None:
        """Note that an endpoint refused or broke off."""
        if address in self._addresses:
            self._failed[address] = now + SET_ASIDE_SECONDS

    def answered(self, address: str) -> None:
        """Note that an endpoint answered."""
        if self._failed:
            self._failed.pop(address, None)

    def choose(self, now: float, tried: Collection[str] = ()) -> str:
        """Return the next endpoint that was not `tried`, one that failed lately only as a last resort; "": none."""
        addresses = self._addresses
        count = len(addresses)
        if not count:
            return ""
        start = self._next = (self._next + 1) % count
        if not self._failed and not tried:
            return addresses[start]
        turned = addresses[start:] + addresses[:start]
        untried = [one for one in turned if one not in tried]
        for one in untried:
            if self._failed.get(one, now) <= now:
                return one
        return untried[0] if untried else ""
