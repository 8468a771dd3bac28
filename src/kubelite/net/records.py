"""Decides what the cluster's DNS answers. Pure; after the Kubernetes DNS specification 1.1.0."""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol, TypeVar

from msgspec import Struct

from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import Endpoint, EndpointPort, EndpointSlice
from kubelite.limits import DNS_STEPS
from kubelite.net.dns_wire import (
    ANY,
    CNAME,
    NAME_ERROR,
    NO_ERROR,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
    Name,
    ResourceRecord,
    encode_name,
    is_encodable,
    parse_name,
)
from kubelite.net.trusted_text import is_ipv4

TTL_SECONDS = 5
SPECIFICATION_VERSION = b"1.1.0"
WEIGHTS = struct.Struct("!HHH")  # priority, weight, port
SRV_PRIORITY, SRV_WEIGHT_TOTAL = 0, 100

T = TypeVar("T")


class Zone(Protocol):
    """The objects that DNS names resolve to."""

    def has_namespace(self, name: str) -> bool:
        """Return whether a namespace exists."""
        ...

    def service(self, namespace: str, name: str) -> Service | None:
        """Return a service, None if it does not exist."""
        ...

    def slices(self, namespace: str, name: str) -> Sequence[EndpointSlice]:
        """Return the slices of a service."""
        ...

    def services_at(self, address: str) -> Sequence[Service]:
        """Return the services with this cluster address."""
        ...

    def slices_of_host(self, namespace: str, name: str, host: str) -> Sequence[EndpointSlice]:
        """Return the slices of a service with an endpoint whose `host_name` is this."""
        ...

    def slices_at(self, address: str) -> Sequence[EndpointSlice]:
        """Return the slices with an endpoint whose first address this is."""
        ...


class ZoneSettings(Struct, frozen=True):
    """The domain and the address ranges the cluster is authoritative for."""

    domain: Name = (b"cluster", b"local")
    networks: tuple[IPv4Network, ...] = (IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16"))


class Answer(Struct, frozen=True):
    """The records and the code of an answer; `chase` is a CNAME target outside, whose records follow these."""

    code: int = NO_ERROR
    records: tuple[ResourceRecord, ...] = ()
    additionals: tuple[ResourceRecord, ...] = ()
    chase: Name = ()


class Host(Struct, frozen=True, order=True):
    """An endpoint's name below its service, and its address."""

    name: bytes
    address: str
    port: int = 0


NOTHING_HERE = Answer()  # NODATA: the name exists, but has no record of the type
NO_SUCH_NAME = Answer(NAME_ERROR)


def answer(name: Name, record_type: int, zone: Zone, settings: ZoneSettings) -> Answer | None:
    """Return the authoritative answer; None if the name is outside the zone and goes upstream."""
    if name[-2:] == (b"in-addr", b"arpa"):
        return _answer_address(name, record_type, zone, settings)
    depth = len(settings.domain)
    if name[-depth:] != settings.domain:
        return None
    try:
        labels = [label.decode("ascii") for label in name[:-depth]]
    except UnicodeDecodeError:
        return NO_SUCH_NAME
    return _answer_below(name, labels, record_type, zone, settings)


def _answer_below(
    name: Name, labels: list[str], record_type: int, zone: Zone, settings: ZoneSettings
) -> Answer:
    match labels:
        case [] | ["svc"] | ["pod"]:
            if record_type == SOA and not labels:
                return Answer(records=(start_of_authority(settings),))
            return NOTHING_HERE
        case ["dns-version"]:
            text = bytes((len(SPECIFICATION_VERSION),)) + SPECIFICATION_VERSION
            return _of_type(record_type, ResourceRecord(name, TXT, text, TTL_SECONDS))
        case [namespace, "svc" | "pod"]:
            return NOTHING_HERE if zone.has_namespace(namespace) else NO_SUCH_NAME
        case [dashed, namespace, "pod"]:
            return _answer_pod(name, dashed, namespace, record_type, zone)
        case [*below, service_name, namespace, "svc"] if len(below) <= 2:
            service = zone.service(namespace, service_name)
            if service is None:
                return NO_SUCH_NAME
            return _answer_service(name, below, service, record_type, zone)
    return NO_SUCH_NAME


def start_of_authority(settings: ZoneSettings) -> ResourceRecord:
    """Return the SOA record of negative answers; it says how long they may be cached (RFC 2308)."""
    data = encode_name((b"ns", b"dns", *settings.domain))
    data += encode_name((b"hostmaster", *settings.domain))
    data += struct.pack("!IIIII", 1, 7200, 1800, 86400, TTL_SECONDS)
    return ResourceRecord(settings.domain, SOA, data, TTL_SECONDS)


def _answer_pod(name: Name, dashed: str, namespace: str, record_type: int, zone: Zone) -> Answer:
    parts = dashed.split("-")
    is_address = len(parts) == 4 and all(
        part.isdecimal() and len(part) <= 3 and int(part) < 256 for part in parts
    )
    if not is_address or not zone.has_namespace(namespace):
        return NO_SUCH_NAME
    return _of_type(record_type, _address_record(name, ".".join(str(int(part)) for part in parts)))


def _answer_service(
    name: Name, below: list[str], service: Service, record_type: int, zone: Zone
) -> Answer:
    spec = service.spec
    if spec.type == "ExternalName":
        if below:
            return NO_SUCH_NAME
        target = parse_name(spec.externalName)
        if not is_encodable(target):
            return NOTHING_HERE
        alias = ResourceRecord(name, CNAME, encode_name(target), TTL_SECONDS)
        return Answer(records=(alias,), chase=() if record_type == CNAME else target)
    if below and not (len(below) == 2 and below[0].startswith("_")):
        return _answer_host(name, below, service, record_type, zone)
    if spec.clusterIP == "None":
        return _answer_headless(name, below, service, record_type, zone)
    if not is_ipv4(spec.clusterIP):
        return NOTHING_HERE
    if not below and record_type in (A, ANY):
        return Answer(records=(_address_record(name, spec.clusterIP),))
    ports = [
        port
        for port in _bounded(spec.ports)
        if port is not None and (not below or _is_port(below, port.name, port.protocol))
    ]
    if not ports:
        return NO_SUCH_NAME if below else NOTHING_HERE
    if record_type not in (SRV, ANY):
        return NOTHING_HERE
    target = name[len(below) :]
    return Answer(
        records=tuple(
            _service_record(name, port.port, target, SRV_WEIGHT_TOTAL // len(ports))
            for port in ports
        ),
        additionals=(_address_record(target, spec.clusterIP),),
    )


def _answer_host(
    name: Name, below: list[str], service: Service, record_type: int, zone: Zone
) -> Answer:
    """Answer for an endpoint by its host name, or by its address with dashes."""
    if len(below) != 1:
        return NO_SUCH_NAME
    label = below[0].encode()
    metadata = service.metadata
    slices = zone.slices_of_host(metadata.namespace, metadata.name, below[0])
    addresses = {host.address for host in _hosts(slices, []) if host.name == label}
    if not addresses:
        return NO_SUCH_NAME
    return _of_type(record_type, *(_address_record(name, address) for address in sorted(addresses)))


def _answer_headless(
    name: Name, below: list[str], service: Service, record_type: int, zone: Zone
) -> Answer:
    hosts = sorted(set(_hosts(_slices(service, zone), below)))
    if not hosts:
        return NO_SUCH_NAME
    if record_type in (A, ANY) and not below:
        addresses = dict.fromkeys(host.address for host in hosts)
        return Answer(records=tuple(_address_record(name, address) for address in addresses))
    if record_type not in (SRV, ANY):
        return NOTHING_HERE
    parent = name[len(below) :]
    weight = max(1, SRV_WEIGHT_TOTAL // len(hosts))
    found = [host for host in hosts if host.port]
    return Answer(
        records=tuple(
            _service_record(name, host.port, (host.name, *parent), weight) for host in found
        ),
        additionals=tuple(
            dict.fromkeys(_address_record((host.name, *parent), host.address) for host in found)
        ),
    )


def _slices(service: Service, zone: Zone) -> Sequence[EndpointSlice]:
    return zone.slices(service.metadata.namespace, service.metadata.name)


def _hosts(slices: Iterable[EndpointSlice], below: list[str]) -> Iterator[Host]:
    """Return the ready endpoints, once for each port that `below` (_port, _protocol), if any, matches."""
    return (host for host in _bounded(_host_steps(slices, below)) if host is not None)


def _bounded(steps: Iterable[T | None]) -> Iterator[T | None]:
    """Yield at most the limit's number of steps over ports and endpoints; the rest is left out of the answer."""
    for number, step in enumerate(steps):
        if number >= DNS_STEPS.value:
            DNS_STEPS.reached()
            return
        yield step


def _host_steps(slices: Iterable[EndpointSlice], below: list[str]) -> Iterator[Host | None]:
    """Yield a host for each usable endpoint and port, None for one that is not: each counts as a step."""
    for entry in slices:
        if entry.addressType != "IPv4":
            yield None
            continue
        ports: list[EndpointPort | None] = []
        for port in entry.ports:
            if not below or _is_port(below, port.name or "", port.protocol or ""):
                ports.append(port)
            yield None
        if not entry.ports and not below:
            ports = [None]
        for endpoint in entry.endpoints:
            if endpoint.conditions.ready is False or not _is_told(endpoint):
                yield None
                continue
            for wanted in ports:
                number = (wanted.port or 0) if wanted else 0
                yield Host(_host_name(endpoint), endpoint.addresses[0], number)


def _is_told(endpoint: Endpoint) -> bool:
    """Return whether an endpoint can be encoded in a record; validation should reject any other."""
    return (
        bool(endpoint.addresses)
        and is_ipv4(endpoint.addresses[0])
        and is_encodable((_host_name(endpoint),))
    )


def host_name(endpoint: Endpoint) -> str:
    """Return an endpoint's name below its service: its host name, or its address with dashes."""
    return (endpoint.hostname or endpoint.addresses[0].replace(".", "-")).lower()


def _host_name(endpoint: Endpoint) -> bytes:
    return host_name(endpoint).encode()


def _is_port(below: list[str], name: str, protocol: str) -> bool:
    return below == [f"_{name}".lower(), f"_{(protocol or 'TCP').lower()}"]


def _answer_address(
    name: Name, record_type: int, zone: Zone, settings: ZoneSettings
) -> Answer | None:
    address = _reversed_address(name)
    if address is None or not any(address in network for network in settings.networks):
        return None
    targets: list[Name] = [
        (service.metadata.name.encode(), service.metadata.namespace.encode())
        for service in zone.services_at(str(address))
    ]
    if not targets:
        targets = list(_headless_names(str(address), zone))
    if not targets:
        return NO_SUCH_NAME
    full = [(*target, b"svc", *settings.domain) for target in targets]
    return _of_type(
        record_type,
        *(ResourceRecord(name, PTR, encode_name(target), TTL_SECONDS) for target in full),
    )


def _headless_names(address: str, zone: Zone) -> Iterator[Name]:
    return (name for name in _bounded(_name_steps(address, zone)) if name is not None)


def _name_steps(address: str, zone: Zone) -> Iterator[Name | None]:
    for entry in zone.slices_at(address):
        namespace = entry.metadata.namespace
        service = zone.service(
            namespace, entry.metadata.labels.get("kubernetes.io/service-name", "")
        )
        if service is None or service.spec.clusterIP != "None":
            yield None
            continue
        for endpoint in entry.endpoints:
            if _is_told(endpoint) and endpoint.addresses[0] == address:
                yield _host_name(endpoint), service.metadata.name.encode(), namespace.encode()
            else:
                yield None


def _reversed_address(name: Name) -> IPv4Address | None:
    parts = name[:-2]
    if len(parts) != 4:
        return None
    try:
        return IPv4Address(b".".join(reversed(parts)).decode("ascii"))
    except ValueError:
        return None


def _of_type(record_type: int, *records: ResourceRecord) -> Answer:
    return Answer(
        records=tuple(record for record in records if record_type in (record.record_type, ANY))
    )


def _address_record(name: Name, address: str) -> ResourceRecord:
    return ResourceRecord(name, A, socket.inet_aton(address), TTL_SECONDS)


def _service_record(name: Name, port: int, target: Name, weight: int) -> ResourceRecord:
    data = WEIGHTS.pack(SRV_PRIORITY, weight, port) + encode_name(target)
    return ResourceRecord(name, SRV, data, TTL_SECONDS)
