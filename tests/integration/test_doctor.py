"""Hosts with something wrong, as network namespaces, and what `kubelite doctor` says of them; it changes none."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from testbed.hosts import SOURCE

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
]
SNAPSHOT = "{ ip link; ip address; ip route; nft list ruleset; iptables -S; } 2>&1"
UNSET = """
import sys
from datetime import UTC, datetime
from kubelite import clock
clock.SystemClock.now = lambda self: datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
from kubelite.cli import main
main()
"""
Said = Mapping[str, list[dict[str, str]]]


def examine(
    folder: Path, script: str = "", *flags: str, program: str = "", prefix: str = ""
) -> tuple[int, Said, tuple[str, str]]:
    """Examine a host after a shell script; return the exit code, findings by subject, and the host before and after."""
    called = f"-c '{program}'" if program else "-m kubelite"
    before, after = folder / "before", folder / "after"
    lines = f"""
for each in all default; do echo 1 >/proc/sys/net/ipv6/conf/$each/disable_ipv6; done 2>/dev/null || :
ip link set lo up
{script}
{SNAPSHOT} >{before}
set +e
{prefix} {sys.executable} {called} doctor --json --data-dir={folder}/data {" ".join(flags)} >{folder}/said
code=$?
{SNAPSHOT} >{after}
exit $code
"""
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-ec", lines],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert (folder / "said").exists(), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    said = json.loads((folder / "said").read_text())
    by_subject = {each["subject"]: each["findings"] for each in said["subjects"]}
    return done.returncode, by_subject, (before.read_text(), after.read_text())


def whats(said: Said, subject: str, *levels: str) -> list[str]:
    return [one["what"] for one in said[subject] if not levels or one["level"] in levels]


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Said, tuple[str, str]]:
    """A host where much is wrong at once: each finding is of its own subject."""
    script = f"""
{sys.executable} -c '
import socket, time
held = [socket.create_server(("0.0.0.0", port)) for port in (6443, 80, 30080)]
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("0.0.0.0", 53))
open("HELD", "w").close()
time.sleep(20)' >/dev/null 2>&1 &
until test -e HELD; do sleep 0.05; done
ip link add vpn0 type veth peer name vpn1; ip link set vpn1 up
ip address add 10.42.7.1/24 dev vpn0; ip link set vpn0 up
ip link add kubelite0 type bridge
nft add table ip kubelite
nft '
table inet strict {{
  chain forward {{
    type filter hook forward priority 0; policy drop;
  }}
  chain input {{
    type filter hook input priority 0; policy drop;
    iifname "lo" accept
  }}
}}'
"""
    folder = tmp_path_factory.mktemp("troubled")
    return examine(folder, script.replace("HELD", str(folder / "held")))


def test_nothing_is_changed(troubled: tuple[int, Said, tuple[str, str]]) -> None:
    _, _, (before, after) = troubled
    assert "kubelite0" in before
    assert before == after


def test_ports_that_are_taken(troubled: tuple[int, Said, tuple[str, str]]) -> None:
    code, said, _ = troubled
    assert code == 1
    errors = whats(said, "ports", "error")
    assert [line.partition(" by ")[0] for line in errors] == [
        "port 6443 is taken",
        "port 53/udp is taken on all addresses",
    ]
    assert all("python" in line and "(process " in line for line in errors)
    assert any(line.startswith("port 80 is taken") for line in whats(said, "ports", "warning"))
    assert "programs of this host listen on node ports: 30080" in whats(said, "ports", "note")


def test_a_foreign_firewall_that_drops(troubled: tuple[int, Said, tuple[str, str]]) -> None:
    assert whats(troubled[1], "firewall", "warning") == [
        "the nftables table inet strict drops what pods send and get",
        "the nftables table inet strict let nothing in unless told to",
    ]


def test_ranges_that_overlap(troubled: tuple[int, Said, tuple[str, str]]) -> None:
    assert "the range 10.42.0.0/16 of the cluster overlaps 10.42.7.0/24, which is on vpn0" in whats(
        troubled[1], "addresses", "warning"
    )


def test_leftovers_of_a_folder_that_is_gone(troubled: tuple[int, Said, tuple[str, str]]) -> None:
    [left] = [one for one in troubled[1]["leftovers"] if "links kubelite0" in one["what"]]
    assert "nftables tables ip kubelite" in left["what"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Said, tuple[str, str]]:
    script = """
ip link add eth0 type veth peer name far0; ip link set far0 up
ip address add 192.0.2.7/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.1
"""
    return examine(tmp_path_factory.mktemp("sound"), script)


def test_a_sound_host_has_none_of_it(sound: tuple[int, Said, tuple[str, str]]) -> None:
    _, said, (before, after) = sound
    assert whats(said, "ports", "error", "warning") == []
    assert whats(said, "firewall", "error", "warning", "note") == []
    assert whats(said, "addresses", "error", "warning", "note") == []
    assert "links and rules of the pods' network can be made" in whats(said, "kernel", "ok")
    assert before == after


def test_a_clock_that_is_unset(tmp_path: Path) -> None:
    code, said, _ = examine(tmp_path, program=UNSET.replace("'", '"'))
    assert code == 1
    [what] = whats(said, "clock", "error")
    assert what == "the clock shows 1970-01-01 00:01 UTC, which is before this release"


def test_without_root_it_says_what_it_could_not_see(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o011) if folder.stat().st_uid == 0 else None
    flags = ("--write-kubeconfig=/nowhere/x",)
    prefix = "setpriv --reuid=4242 --clear-groups --bounding-set=-all --inh-caps=-all"
    code, said, _ = examine(tmp_path, "", *flags, prefix=prefix)
    assert code == 1
    assert whats(said, "rights", "error") == [
        "this process lacks CAP_NET_ADMIN",
        "this process lacks CAP_SYS_ADMIN",
    ]
    seen = [line for subject in said for line in whats(said, subject, "note")]
    assert "not examined: the rules of the host's firewall: needs root" in seen
    assert "not examined: whether the kernel takes the rules of Services: needs root" in seen
