"""How a host is set for IPv6, and how it was before."""

from pathlib import Path

import pytest

from kubelite.net.ipv6_host import forward, ipv6_problem, restore, set_link, wanted_changes


def test_a_host_that_hears_routers_goes_on_to_do_so() -> None:
    current = {"all/forwarding": "0", "eth0/accept_ra": "1", "eth1/accept_ra": "0"}
    wanted = wanted_changes(current)
    assert list(wanted.items()) == [("eth0/accept_ra", "2"), ("all/forwarding", "1")]
    assert wanted_changes({"all/forwarding": "1", "eth0/accept_ra": "1"}) == {}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    folder = tmp_path / "conf"
    for link in ("all", "default", "eth0", "lo"):
        (folder / link).mkdir(parents=True)
        for name in ("forwarding", "accept_ra", "disable_ipv6"):
            (folder / link / name).write_text("1\n" if name == "accept_ra" else "0\n")
    return folder


def test_the_settings_come_back(settings: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    forward(settings, before)
    forward(settings, before)  # a second start changes nothing, and forgets nothing
    assert (settings / "all" / "forwarding").read_text() == "1"
    assert (settings / "eth0" / "accept_ra").read_text() == "2"
    restore(settings, before)
    assert (settings / "all" / "forwarding").read_text() == "0"
    assert (settings / "eth0" / "accept_ra").read_text() == "1"
    assert not before.exists()
    restore(settings, before)


def test_a_host_that_forwarded_before_is_left_alone(settings: Path, tmp_path: Path) -> None:
    (settings / "all" / "forwarding").write_text("1\n")
    forward(settings, tmp_path / "before.json")
    restore(settings, tmp_path / "before.json")
    assert (settings / "all" / "forwarding").read_text() == "1\n"
    assert (settings / "eth0" / "accept_ra").read_text() == "1\n"


def test_a_pods_link_has_no_address_of_its_own(settings: Path) -> None:
    set_link("eth0", settings, is_pods=True)
    assert (settings / "eth0" / "addr_gen_mode").read_text() == "1"
    assert (settings / "eth0" / "accept_ra").read_text() == "0"
    assert (settings / "lo" / "disable_ipv6").read_text() == "0"


def test_a_host_without_ipv6_is_told(settings: Path) -> None:
    assert ipv6_problem(settings) == ""
    assert "ipv6.disable=1" in ipv6_problem(settings / "none")
