"""What an administrator sets of the cluster's DNS, in a ConfigMap. Pure.

Two keys are those of the ConfigMap that kube-dns had (``stubDomains``, ``upstreamNameservers``); the other two do what
people use the hosts and rewrite plugins of CoreDNS for.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from kubelite.limits import DNS_CONFIG_ENTRIES, DNS_REWRITES, DNS_SERVERS, Limit
from kubelite.net.dns_wire import Name, is_encodable, parse_name

CONFIG_NAMESPACE, CONFIG_NAME = "kube-system", "kube-dns"
STUB_DOMAINS, NAMESERVERS, HOSTS, REWRITES = (
    "stubDomains",
    "upstreamNameservers",
    "hosts",
    "rewrites",
)
KEYS = (STUB_DOMAINS, NAMESERVERS, HOSTS, REWRITES)
PORT = 53

Server = tuple[str, int]  # address and port


class InvalidDNSConfig(Exception):
    """A value of the ConfigMap that cannot be used; the text names its key."""


class Rewrite(Struct, frozen=True):
    """Names that are looked up as other names: one, or all that end with a suffix."""

    how: Literal["exact", "suffix"]
    name: Name
    target: Name

    def apply(self, name: Name) -> Name | None:
        """Return the name to look up instead; None if this rewrite is not about `name`."""
        if self.how == "exact":
            return self.target if name == self.name else None
        depth = len(name) - len(self.name)
        return name[:depth] + self.target if depth >= 0 and name[depth:] == self.name else None


class DNSConfig(Struct, frozen=True):
    """Checked settings; empty ones leave everything to the host's resolvers."""

    stubs: dict[Name, tuple[Server, ...]] = {}  # by domain: who is asked for names in it
    servers: tuple[Server, ...] = ()  # who is asked for all others, instead of the host's resolvers
    hosts: dict[Name, tuple[str, ...]] = {}
    rewrites: tuple[Rewrite, ...] = ()

    def servers_for(self, name: Name) -> tuple[Server, ...]:
        """Return whom to ask for a name: the servers of the longest stub domain it is in; empty: the host's."""
        if self.stubs:
            for start in range(len(name)):
                if (found := self.stubs.get(name[start:])) is not None:
                    return found
        return self.servers

    def rewritten(self, name: Name) -> Name:
        """Return the name to look up for `name`, by the first rewrite that is about it."""
        for rewrite in self.rewrites:
            if (target := rewrite.apply(name)) is not None:
                return target
        return name


def parse_config(data: Mapping[str, str]) -> DNSConfig:
    """Read the data of the ConfigMap. Raises InvalidDNSConfig."""
    unknown = sorted(data.keys() - set(KEYS))
    if unknown:
        raise InvalidDNSConfig(f"data[{unknown[0]}]: unknown key; known are {', '.join(KEYS)}")
    config = DNSConfig(
        stubs=dict(_stubs(data.get(STUB_DOMAINS, ""))),
        servers=tuple(_nameservers(data.get(NAMESERVERS, ""))),
        hosts=_hosts(data.get(HOSTS, "")),
        rewrites=tuple(_rewrites(data.get(REWRITES, ""))),
    )
    for servers in (config.servers, *config.stubs.values()):
        _check_count(len(servers), DNS_SERVERS)
    addresses = sum(map(len, config.hosts.values()))
    _check_count(len(config.stubs) + len(config.hosts) + addresses, DNS_CONFIG_ENTRIES)
    _check_count(len(config.rewrites), DNS_REWRITES)
    return config


def _check_count(count: int, limit: Limit) -> None:
    if count > limit.value:
        limit.reached()
        raise InvalidDNSConfig(f"{count} {limit.unit}: at most {limit.value} are allowed")


def _stubs(text: str) -> Iterator[tuple[Name, tuple[Server, ...]]]:
    if not text.strip():
        return
    try:
        domains = msgspec.json.decode(text, type=dict[str, list[str]])
    except msgspec.DecodeError as error:
        raise InvalidDNSConfig(
            f"data[{STUB_DOMAINS}]: must be a JSON object, from domains to lists of addresses: {error}"
        ) from error
    for domain, addresses in domains.items():
        where = f"data[{STUB_DOMAINS}], domain {domain!r}"
        if not addresses:
            raise InvalidDNSConfig(f"{where}: needs an address")
        yield _name(where, domain), tuple(_server(where, address) for address in addresses)


def _nameservers(text: str) -> Iterator[Server]:
    if not text.strip():
        return
    where = f"data[{NAMESERVERS}]"
    try:
        addresses = msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError as error:
        raise InvalidDNSConfig(f"{where}: must be a JSON list of addresses: {error}") from error
    yield from (_server(where, address) for address in addresses)


def _hosts(text: str) -> dict[Name, tuple[str, ...]]:
    found: dict[Name, dict[str, None]] = {}
    for where, words in _lines(HOSTS, text):
        address = _address(where, words[0])
        if not words[1:]:
            raise InvalidDNSConfig(f"{where}: {words[0]!r} has no name")
        for name in words[1:]:
            found.setdefault(_name(where, name), {})[address] = None
    return {name: tuple(addresses) for name, addresses in found.items()}


def _rewrites(text: str) -> Iterator[Rewrite]:
    for where, words in _lines(REWRITES, text):
        match words:
            case ["exact", name, target]:
                yield Rewrite("exact", _name(where, name), _name(where, target))
            case ["suffix", name, target]:
                yield Rewrite("suffix", _name(where, name), _name(where, target))
            case _:
                raise InvalidDNSConfig(f"{where}: must be 'exact NAME NAME' or 'suffix NAME NAME'")


def _lines(key: str, text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield where a line stands and its words; comments begin with a hash."""
    for number, line in enumerate(text.splitlines(), 1):
        if words := line.partition("#")[0].split():
            yield f"data[{key}], line {number}", words


def _name(where: str, text: str) -> Name:
    name = parse_name(text)
    if not name or ".." in text or not text.isascii() or not is_encodable(name):
        raise InvalidDNSConfig(f"{where}: {text!r} is not a domain name")
    return name


def _server(where: str, text: str) -> Server:
    """Return the address and port of `1.2.3.4`, `1.2.3.4:53`, `fd00::1` or `[fd00::1]:53`."""
    address, port = text.strip(), str(PORT)
    if address.startswith("["):
        address, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif address.count(":") == 1:
        address, _, port = address.partition(":")
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        raise InvalidDNSConfig(f"{where}: {text!r} has no valid port")
    return _address(where, address), int(port)


def _address(where: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidDNSConfig(f"{where}: {text!r} is not an IP address") from None
