"""What pyroute2 is told. That the kernel takes it is shown in tests/integration/test_net_*."""

import subprocess
import sys
from pathlib import Path

import pytest

from kubelite.net.netlink import Route, _route, _wanted

SOURCE = str(Path(__file__).parents[3] / "src")


class Message(dict[str, object]):
    """Fields by index, attributes by `get`, as pyroute2's messages."""


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        (
            Route("", 0, 4, "10.42.0.1"),
            {"dst": "0.0.0.0/0", "oif": 4, "gateway": "10.42.0.1", "scope": 0, "flags": 0},
        ),
        (Route("10.42.0.1", 32, 4), {"dst": "10.42.0.1/32", "oif": 4, "scope": 253, "flags": 0}),
        (
            Route("", 0, 4, "fd42::1"),
            {"dst": "::/0", "oif": 4, "gateway": "fd42::1", "scope": 0, "flags": 0, "family": 10},
        ),
        (
            Route("fd42::1", 128, 4),
            {"dst": "fd42::1/128", "oif": 4, "scope": 0, "flags": 0, "family": 10},
        ),
        (
            Route("10.42.1.0", 24, 7, "10.42.1.0", is_onlink=True),
            {"dst": "10.42.1.0/24", "oif": 7, "gateway": "10.42.1.0", "scope": 0, "flags": 4},
        ),
    ],
)
def test_routes_as_pyroute2_takes_them(route: Route, wanted: dict[str, object]) -> None:
    assert _wanted(route) == {"family": 2, **wanted, "table": 254, "proto": 142}


def test_routes_as_the_kernel_tells_them() -> None:
    default = Message(family=2, dst_len=0, oif=4, gateway="192.0.2.1", proto=3, flags=0)
    assert _route(default) == Route("0.0.0.0", 0, 4, "192.0.2.1", protocol=3)
    tunnelled = Message(dst="10.42.1.0", dst_len=24, oif=7, gateway="10.42.1.0", proto=142, flags=4)
    assert _route(tunnelled) == Route("10.42.1.0", 24, 7, "10.42.1.0", is_onlink=True)


def test_the_library_is_loaded_only_where_links_are_changed() -> None:
    code = "import kubelite.worker, kubelite.net.reset, sys; sys.exit('pyroute2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": SOURCE}, timeout=60)
    assert done.returncode == 0


def test_of_the_library_only_the_part_for_links_is_loaded() -> None:
    code = (
        "from kubelite.net import netlink; import sys; netlink.RouteSocket().close(); "
        "print(*({'sqlite3', 'pyroute2.ndb', 'pyroute2.ethtool', 'multiprocessing.pool'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
