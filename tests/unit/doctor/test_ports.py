import socket

import pytest
from msgspec.structs import replace

from kubelite.doctor.ports import Listener, Ports, gather, is_kubelite, judge, parse_sockets
from kubelite.doctor.wanted import Port
from unit.doctor.hosts import CONTROL_PLANE, SERVER, bad

OTHER, OURS = "nginx (process 7)", "kubelite (process 9)"


def one(
    port: int, protocol: str = "tcp", address: str = "0.0.0.0", holder: str = OTHER
) -> Listener:
    return Listener(protocol, address, port, 1, holder, holder == OURS)


@pytest.mark.parametrize(
    ("listeners", "found"),
    [
        ([], []),
        ([one(8080), one(6443, "udp")], []),
        ([one(6443)], ["error: port 6443 is taken by nginx (process 7) on 0.0.0.0"]),
        (
            [one(10250, address="127.0.0.1", holder="")],
            [
                "error: port 10250 is taken by another program (run as root to see which) on 127.0.0.1"
            ],
        ),
        ([one(80)], ["warning: port 80 is taken by nginx (process 7) on 0.0.0.0"]),
        ([one(443, address="::")], ["warning: port 443 is taken by nginx (process 7) on ::"]),
        ([one(6443, holder=OURS), one(10250, holder=OURS)], []),
        (
            [one(6443, holder=OURS), one(6443, address="::1")],
            ["error: port 6443 is taken by nginx (process 7) on ::1"],
        ),
        (
            [one(53, "udp"), one(53, "udp", "127.0.0.53")],
            ["error: port 53/udp is taken on all addresses by nginx (process 7)"],
        ),
        ([one(53, "udp", "127.0.0.53"), one(53, holder=OURS)], []),
        ([one(8472, "udp")], ["warning: port 8472/udp is taken by nginx (process 7)"]),
        ([one(8472, "udp", holder="")], []),  # the kernel's own: a tunnel
        (
            [one(30080), one(30080, address="::"), one(31000)],
            ["note: programs of this host listen on node ports: 30080, 31000"],
        ),
    ],
)
def test_ports(listeners: list[Listener], found: list[str]) -> None:
    assert bad(judge(Ports(tuple(listeners)), SERVER)) == found


def test_a_control_plane_has_one_port() -> None:
    taken = Ports((one(10250), one(80), one(53, "udp")))
    assert bad(judge(taken, CONTROL_PLANE)) == []


def test_ports_of_clients_among_the_node_ports() -> None:
    [found] = bad(judge(Ports((), range(1024, 65536)), SERVER))
    assert found.startswith("note: the kernel gives clients ports from 1024 to 65535")


def test_the_kernels_tables() -> None:
    text = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0
   1: 0100007F:0CEA 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0
"""
    assert list(parse_sockets(text, "tcp")) == [Listener("tcp", "127.0.0.1", 3306, 4242)]
    six = text.replace("0100007F:0CEA 0", f"{'0' * 24}01000000:1F90 0")
    assert [(each.address, each.port) for each in parse_sockets(six, "tcp")] == [("::1", 8080)]


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        (["/usr/local/bin/kubelite", "server"], True),
        (["/usr/bin/python3", "-m", "kubelite", "server"], True),
        (["python3.11", "/opt/bin/kubelite", "server"], True),
        (["python3", "-m", "kubelite.ingress.process"], True),
        (["vi", "kubelite"], False),
        (["kubelite-thief"], False),
        ([""], False),
        ([], False),
    ],
)
def test_whose_port_it_is(line: list[str], is_one: bool) -> None:
    assert is_kubelite(line) is is_one


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_that_this_process_holds_is_found(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as taken:
        port = taken.getsockname()[1]
        found = [each for each in gather(SERVER).listeners if each.port == port]
        wanted = replace(SERVER, ports=(Port(port, "tcp", "the API", "--https-listen-port"),))
        [said] = [one for one in bad(judge(Ports(tuple(found)), wanted)) if "is taken" in one]
    assert "(process " in said
    assert said.endswith(address)
