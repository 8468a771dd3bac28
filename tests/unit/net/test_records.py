"""What the cluster answers, name by name."""

from collections.abc import Iterator, Sequence

import pytest
from fakes.mirrored import MirroringClient
from fakes.network_objects import endpoint, endpoint_slice, port, service
from msgspec.structs import replace

from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.limits import DNS_STEPS
from kubelite.net.dns_wire import AAAA, ANY, CNAME, NAME_ERROR, PTR, SOA, SRV, TXT, A, parse_name
from kubelite.net.records import NO_SUCH_NAME, NOTHING_HERE, ZoneSettings, answer, host_name
from kubelite.net.zone import MirroredZone
from unit.net.questions import told

HTTP = [port(80, name="http"), port(53, "UDP", "dns")]


class WrittenZone:
    """A zone of a few services in namespace default."""

    services = [
        service("web", "10.43.0.5", ports=HTTP),
        service("bare", "None", ports=HTTP),
        service("empty", "None", ports=HTTP),
        service("six", "fd00::5"),
        service("away", "", type="ExternalName", externalName="Example.org"),
    ]
    all_slices = [
        endpoint_slice("10.42.0.9", service_name="web", port_name="http"),
        endpoint_slice(
            endpoint("10.42.0.2", hostname="db-0"),
            endpoint("10.42.0.3"),
            endpoint("10.42.0.4", ready=False),
            service_name="bare",
            port_name="http",
        ),
        endpoint_slice(endpoint("10.42.0.7", ready=False), service_name="empty", port_name="http"),
    ]

    def has_namespace(self, name: str) -> bool:
        return name == "default"

    def service(self, namespace: str, name: str) -> Service | None:
        found = [item for item in self.services if item.metadata.name == name]
        return found[0] if found and namespace == "default" else None

    def slices(self, namespace: str, name: str) -> Sequence[EndpointSlice]:
        label = "kubernetes.io/service-name"
        return [entry for entry in self.all_slices if entry.metadata.labels[label] == name]

    def slices_of_host(self, namespace: str, name: str, host: str) -> Sequence[EndpointSlice]:
        return [
            entry
            for entry in self.slices(namespace, name)
            if any(host_name(one) == host for one in entry.endpoints)
        ]

    def services_at(self, address: str) -> Sequence[Service]:
        return [item for item in self.services if item.spec.clusterIP == address]

    def slices_at(self, address: str) -> Sequence[EndpointSlice]:
        return [
            entry
            for entry in self.all_slices
            if any(address in endpoint.addresses for endpoint in entry.endpoints)
        ]


WEB = "web.default.svc.cluster.local"
BARE = "bare.default.svc.cluster.local"
ONE, TWO = f"db-0.{BARE}", f"10-42-0-3.{BARE}"


@pytest.mark.parametrize(
    ("name", "record_type", "records"),
    [
        (WEB, A, [f"{WEB} A 10.43.0.5"]),
        (WEB, ANY, [f"{WEB} A 10.43.0.5"]),
        (f"_http._tcp.{WEB}", SRV, [f"_http._tcp.{WEB} SRV 100 80 {WEB}"]),
        (f"_dns._udp.{WEB}", SRV, [f"_dns._udp.{WEB} SRV 100 53 {WEB}"]),
        (WEB, SRV, [f"{WEB} SRV 50 80 {WEB}", f"{WEB} SRV 50 53 {WEB}"]),
        (f"10-42-0-9.{WEB}", A, [f"10-42-0-9.{WEB} A 10.42.0.9"]),
        (BARE, A, [f"{BARE} A 10.42.0.3", f"{BARE} A 10.42.0.2"]),
        (ONE, A, [f"{ONE} A 10.42.0.2"]),
        (TWO, A, [f"{TWO} A 10.42.0.3"]),
        (
            f"_http._tcp.{BARE}",
            SRV,
            [f"_http._tcp.{BARE} SRV 50 8080 {TWO}", f"_http._tcp.{BARE} SRV 50 8080 {ONE}"],
        ),
        ("5.0.43.10.in-addr.arpa", PTR, [f"5.0.43.10.in-addr.arpa PTR {WEB}"]),
        ("2.0.42.10.in-addr.arpa", PTR, [f"2.0.42.10.in-addr.arpa PTR {ONE}"]),
        (
            "10-42-7-8.default.pod.cluster.local",
            A,
            ["10-42-7-8.default.pod.cluster.local A 10.42.7.8"],
        ),
        ("dns-version.cluster.local", TXT, ["dns-version.cluster.local TXT 1.1.0"]),
        ("cluster.local", SOA, ["cluster.local 6"]),
        (
            "away.default.svc.cluster.local",
            CNAME,
            ["away.default.svc.cluster.local CNAME example.org"],
        ),
    ],
)
def test_records(name: str, record_type: int, records: list[str]) -> None:
    found = answer(parse_name(name), record_type, WrittenZone(), ZoneSettings())
    assert found is not None
    assert [told(record) for record in found.records] == records
    assert found.code == 0


@pytest.mark.parametrize(
    "name",
    [
        "missing.default.svc.cluster.local",
        "web.other.svc.cluster.local",
        "other.svc.cluster.local",
        "other.pod.cluster.local",
        "empty.default.svc.cluster.local",  # as long as no endpoint is ready
        f"_smtp._tcp.{WEB}",
        f"_http._udp.{BARE}",
        f"db-1.{BARE}",
        f"a.b.{WEB}",
        f"a.b.c.{WEB}",
        "x.away.default.svc.cluster.local",
        "10-42-7.default.pod.cluster.local",
        "10-42-7-256.default.pod.cluster.local",
        "10-42-7-8.other.pod.cluster.local",
        "web.default.cluster.local",
        "9.0.43.10.in-addr.arpa",
        "9.0.42.10.in-addr.arpa",  # an endpoint, but of a service with an address of its own
        "google.com.default.svc.cluster.local",
    ],
)
def test_no_such_name(name: str) -> None:
    for record_type in (A, SRV, PTR):
        assert answer(parse_name(name), record_type, WrittenZone(), ZoneSettings()) == NO_SUCH_NAME


@pytest.mark.parametrize(
    ("name", "record_type"),
    [
        (WEB, AAAA),
        (BARE, AAAA),
        (ONE, AAAA),
        (f"_http._tcp.{WEB}", A),
        (f"_http._tcp.{BARE}", A),
        ("six.default.svc.cluster.local", A),
        ("cluster.local", A),
        ("svc.cluster.local", A),
        ("pod.cluster.local", A),
        ("default.svc.cluster.local", A),
        ("default.pod.cluster.local", A),
        ("dns-version.cluster.local", A),
        ("5.0.43.10.in-addr.arpa", A),
        ("10-42-7-8.default.pod.cluster.local", AAAA),
    ],
)
def test_a_name_without_the_record_type_is_nodata(name: str, record_type: int) -> None:
    assert answer(parse_name(name), record_type, WrittenZone(), ZoneSettings()) == NOTHING_HERE


@pytest.mark.parametrize(
    "name",
    ["example.org", "local", "", "1.2.0.192.in-addr.arpa", "in-addr.arpa", "x.2.3.4.in-addr.arpa"],
)
def test_other_names_are_not_the_clusters_to_answer_for(name: str) -> None:
    assert answer(parse_name(name), A, WrittenZone(), ZoneSettings()) is None


def test_an_alias_is_followed_outside() -> None:
    found = answer(parse_name("away.default.svc.cluster.local"), A, WrittenZone(), ZoneSettings())
    assert found is not None
    assert found.chase == parse_name("example.org")


def test_services_bring_the_addresses_of_their_targets() -> None:
    found = answer(parse_name(f"_http._tcp.{BARE}"), SRV, WrittenZone(), ZoneSettings())
    assert found is not None
    assert {told(record) for record in found.additionals} == {
        f"{ONE} A 10.42.0.2",
        f"{TWO} A 10.42.0.3",
    }


def test_names_that_are_no_text_are_not_there() -> None:
    found = answer((b"\xff", b"svc", b"cluster", b"local"), A, WrittenZone(), ZoneSettings())
    assert found is not None
    assert found.code == NAME_ERROR


def test_what_does_not_fit_into_a_message_is_not_told() -> None:
    class LongZone(WrittenZone):
        services = [
            service("away", "", type="ExternalName", externalName=f"{'a' * 64}.org"),
            service("bare", "None", ports=HTTP),
        ]
        all_slices = [
            endpoint_slice(
                endpoint("10.42.0.2", hostname="a" * 64), endpoint("x"), service_name="bare"
            )
        ]

    for name, expected in (("away", NOTHING_HERE), ("bare", NO_SUCH_NAME)):
        found = answer(
            parse_name(f"{name}.default.svc.cluster.local"), A, LongZone(), ZoneSettings()
        )
        assert found == expected


class Counting(list[object]):
    """A list that counts how many of its items are read."""

    read = 0

    def __iter__(self) -> Iterator[object]:
        for item in super().__iter__():
            Counting.read += 1
            yield item


@pytest.mark.parametrize(
    ("name", "record_type"), [(BARE, A), (BARE, SRV), (f"_http._tcp.{BARE}", SRV), (BARE, ANY)]
)
@pytest.mark.parametrize("slices", [20, 40])
def test_an_answer_looks_through_a_bounded_number_of_endpoints(
    name: str, record_type: int, slices: int
) -> None:
    class HugeZone(WrittenZone):
        all_slices = [
            replace(
                endpoint_slice(service_name="bare", port_name="http"),
                endpoints=Counting(
                    endpoint(f"10.42.{number}.{last}") for last in range(250) for _ in range(4)
                ),
            )
            for number in range(slices)
        ]

    Counting.read = 0
    before = DNS_STEPS.times_reached
    found = answer(parse_name(name), record_type, HugeZone(), ZoneSettings())
    assert found is not None
    assert found.records
    assert Counting.read <= DNS_STEPS.value + 1
    assert DNS_STEPS.times_reached == before + 1


def test_a_host_is_found_among_any_number_of_others() -> None:
    client = MirroringClient()
    zone = MirroredZone(client.as_client())
    client.put(service("bare", "None"))
    for number in range(60):
        hosts = [
            endpoint(f"10.42.{number}.{last}", hostname=f"h-{number}-{last}") for last in range(200)
        ]
        client.put(endpoint_slice(*hosts, service_name="bare", name=f"bare-{number}"))
    assert len(zone.slices("default", "bare")) == 60
    found = answer(parse_name(f"h-59-7.{BARE}"), A, zone, ZoneSettings())
    assert found is not None
    assert [told(one) for one in found.records] == [f"h-59-7.{BARE} A 10.42.59.7"]
    found = answer(parse_name("7.59.42.10.in-addr.arpa"), PTR, zone, ZoneSettings())
    assert found is not None
    assert [told(one) for one in found.records] == [f"7.59.42.10.in-addr.arpa PTR h-59-7.{BARE}"]
