import pytest

from kubelite.doctor.firewall import Firewall, judge
from unit.doctor.hosts import CONTROL_PLANE, SERVER, bad

OPEN = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n"
SHUT = OPEN.replace("-P INPUT ACCEPT", "-P INPUT DROP")
UFW = SHUT + "-A INPUT -j ufw-before-input\n"
RHEL = OPEN + "-A INPUT -j REJECT --reject-with icmp-host-prohibited\n"
TABLE = """table inet {name} {{
\tchain in {{
\t\ttype filter hook {hook} priority filter; policy {policy};
\t\tct state established accept{last}
\t}}
}}
"""


def table(hook: str = "input", policy: str = "accept", last: str = "", name: str = "own") -> str:
    return TABLE.format(name=name, hook=hook, policy=policy, last=f"\n\t\t{last}" if last else "")


IN = "let nothing in unless told to"


@pytest.mark.parametrize(
    ("firewall", "found"),
    [
        (Firewall(OPEN, ""), []),
        (Firewall("", ""), []),
        (Firewall(SHUT, ""), [f"warning: iptables {IN}"]),
        (Firewall(RHEL, ""), [f"warning: iptables {IN}"]),
        (Firewall(OPEN, table(policy="drop")), [f"warning: the nftables table inet own {IN}"]),
        (
            Firewall(OPEN, table(last="reject with icmpx admin-prohibited")),
            [f"warning: the nftables table inet own {IN}"],
        ),
        (
            Firewall(OPEN, table("forward", "drop")),
            ["warning: the nftables table inet own drops what pods send and get"],
        ),
        (
            Firewall(OPEN, table("forward", "drop", 'iifname "kubelite0" accept')),
            [],
        ),
        (Firewall(OPEN, table("output", "drop")), []),
        (Firewall(OPEN, table(policy="drop", name="kubelite")), []),
        (
            Firewall(SHUT, table("input", "drop"), ("ufw",)),
            [f"warning: iptables and the nftables table inet own {IN}"],
        ),
        (Firewall(OPEN, "", ("firewalld",)), ["note: firewalld looks after the firewall"]),
        (
            Firewall(None, None),
            ["note: not examined: the rules of the host's firewall: needs root"],
        ),
    ],
)
def test_firewalls(firewall: Firewall, found: list[str]) -> None:
    assert bad(judge(firewall, SERVER)) == found


def test_what_to_do_names_ports_and_the_program() -> None:
    [one] = [each for each in judge(Firewall(UFW, "", ("ufw",)), SERVER) if each.do]
    assert one.do == "open 6443/tcp, 10250/tcp, 8472/udp (ufw allow PORT/PROTOCOL)"


def test_a_control_plane_forwards_nothing() -> None:
    assert bad(judge(Firewall(OPEN, table("forward", "drop")), CONTROL_PLANE)) == []
