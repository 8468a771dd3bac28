import pytest

from kubelite.api.errors import BadRequest
from kubelite.api.http.destinations import Destinations, check_address

GUARDED = Destinations(
    own=lambda: ("127.0.0.1", "::1", "10.43.0.1", "192.0.2.7", "2001:db8::7"),
    port=6443,
    service=lambda: ("10.43.0.1",),
    node=lambda: ("one", "127.0.0.1"),
)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "127.1",
        "127.0.0.1",
        "127.0.0.2",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "0.0.0.0",
        "0.0.0.1",
        "::",
        "::ffff:0.0.0.0",
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ],
)
def test_where_no_node_and_no_pod_can_be(address: str) -> None:
    with pytest.raises(BadRequest, match="address not allowed"):
        check_address(address)
    with pytest.raises(BadRequest, match="address not allowed"):
        GUARDED.check(["192.0.2.8", address], 10250, "two")


@pytest.mark.parametrize("address", ["10.42.0.9", "192.0.2.7", "2001:db8::7", "fd00::1"])
def test_where_they_can_be(address: str) -> None:
    GUARDED.check([address], 10250)
    GUARDED.check([address], 443)


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("192.0.2.7", 6443),
        ("::ffff:192.0.2.7", 6443),
        ("2001:db8:0::7", 6443),
        ("10.43.0.1", 443),
        ("10.43.0.1", 6443),
    ],
)
def test_never_the_api_server_itself(address: str, port: int) -> None:
    with pytest.raises(BadRequest, match="address not allowed"):
        GUARDED.check([address], port)


def test_loopback_is_for_the_node_in_this_process_alone() -> None:
    GUARDED.check(["127.0.0.1"], 10250, "one")
    for address, port, node in (
        ("127.0.0.1", 10250, "two"),
        ("127.0.0.1", 10250, ""),  # whoever has nothing to prove
        ("127.0.0.2", 10250, "one"),
        ("127.0.0.1", 6443, "one"),
    ):
        with pytest.raises(BadRequest):
            GUARDED.check([address], port, node)


def test_a_name_without_addresses() -> None:
    with pytest.raises(BadRequest, match="no addresses for hostname"):
        GUARDED.check([], 10250)
