import pytest
from msgspec.structs import replace

from kubelite.config import AgentConfig, Config
from kubelite.doctor.addresses import Addresses, HostRoute, gather, judge
from kubelite.doctor.wanted import wanted_of
from unit.doctor.hosts import SERVER, bad

GOOD = Addresses(
    "192.0.2.7",
    "",
    ("127.0.0.1", "192.0.2.7"),
    (HostRoute("0.0.0.0/0", "eth0"), HostRoute("192.0.2.0/24", "eth0")),
)
BOTH = wanted_of(
    Config(
        node_name="one",
        cluster_cidr="10.42.0.0/16,fd42::/48",
        service_cidr="10.43.0.0/16,fd43::/112",
    )
)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        (
            {"routes": (HostRoute("10.0.0.0/8", "tun0"),)},
            [
                "warning: the range 10.42.0.0/16 of the cluster overlaps 10.0.0.0/8, which is on tun0",
                "warning: the range 10.43.0.0/16 of the cluster overlaps 10.0.0.0/8, which is on tun0",
            ],
        ),
        (
            {"routes": (HostRoute("10.43.7.0/24", "eth1"),)},
            [
                "warning: the range 10.43.0.0/16 of the cluster overlaps 10.43.7.0/24, which is on eth1"
            ],
        ),
        ({"routes": (HostRoute("10.42.0.0/24", "kubelite0", True),)}, []),
        ({"mtu": 500}, ["warning: packets on the default route have 500 bytes at most"]),
        (
            {"primary": ""},
            ["note: there is no default route of IPv4; the node would have 192.0.2.7"],
        ),
        (
            {"primary": "", "local": ("127.0.0.1",)},
            ["warning: the host has no address of IPv4 but its own"],
        ),
    ],
)
def test_hosts(changes: dict[str, object], found: list[str]) -> None:
    assert bad(judge(replace(GOOD, **changes), SERVER)) == found


def test_both_families() -> None:
    [missing] = bad(judge(GOOD, BOTH))
    assert missing == "warning: the host has no address of IPv6 but its own"
    six = replace(GOOD, primary_v6="2001:db8::7", local=(*GOOD.local, "2001:db8::7"), mtu=1200)
    assert bad(judge(six, BOTH)) == [
        "warning: packets on the default route have 1200 bytes at most"
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("localhost", ["warning: the node would be called localhost, as many machines are"]),
        ("One_Two", ["error: a node cannot be called One_Two"]),
    ],
)
def test_names(name: str, found: list[str]) -> None:
    assert bad(judge(GOOD, replace(SERVER, node_name=name))) == found


def test_an_address_that_is_elsewhere() -> None:
    wanted = wanted_of(AgentConfig(node_name="one", node_ip="203.0.113.9"))
    assert bad(judge(GOOD, wanted)) == [
        "warning: the address 203.0.113.9 of --node-ip is not on this host"
    ]


def test_ranges_that_overlap_each_other() -> None:
    found = bad(judge(GOOD, replace(SERVER, ranges=("10.42.0.0/16", "10.42.8.0/24"))))
    assert found == ["error: the ranges 10.42.0.0/16 and 10.42.8.0/24 overlap"]


def test_this_host_can_be_read() -> None:
    found = gather(SERVER)
    assert "127.0.0.1" in found.local
    assert found.mtu > 0
