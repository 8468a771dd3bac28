"""Which rules a host's own firewall needs."""

import pytest

from kubelite.net.families import IPV4
from kubelite.net.foreign_firewall import droppers, missing_rules, own_rules

IN = "-i kubelite0 -m comment --comment kubelite -j ACCEPT"
OUT = "-o kubelite0 -m comment --comment kubelite -j ACCEPT"
DNS = "-d 10.43.0.10/32 -i kubelite0 -m comment --comment kubelite -j ACCEPT"
TRANSLATED = "-i kubelite0 -m conntrack --ctstate DNAT -m comment --comment kubelite -j ACCEPT"
DOCKER = "-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN"


@pytest.mark.parametrize(
    ("listing", "missing"),
    [
        ("", []),
        ("-P INPUT DROP\n-P FORWARD ACCEPT", [f"-I INPUT {DNS}", f"-I INPUT {TRANSLATED}"]),
        (f"-P INPUT DROP\n-A INPUT {DNS}", [f"-I INPUT {TRANSLATED}"]),
        ("-P INPUT ACCEPT\n-A INPUT -s 10.0.0.0/8 -j DROP", []),
        (
            "-P INPUT ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited",
            [f"-I FORWARD {IN}", f"-I FORWARD {OUT}"],
        ),
        ("-P FORWARD DROP", [f"-I FORWARD {IN}", f"-I FORWARD {OUT}"]),
        (f"-P FORWARD DROP\n-A FORWARD {IN}", [f"-I FORWARD {OUT}"]),
        (DOCKER, [f"-I DOCKER-USER {IN}", f"-I DOCKER-USER {OUT}"]),
        (f"{DOCKER}\n-A DOCKER-USER {IN}\n-A DOCKER-USER {OUT}", []),
        ("-P FORWARD DROP\n-N DOCKER-USER", [f"-I FORWARD {IN}", f"-I FORWARD {OUT}"]),
    ],
)
def test_missing_rules(listing: str, missing: list[str]) -> None:
    assert [
        " ".join(rule) for rule in missing_rules(listing, "kubelite0", ["10.43.0.10"])
    ] == missing


def test_own_rules_are_found_again_and_no_others() -> None:
    listing = f"{DOCKER}\n-A DOCKER-USER {IN}\n-A FORWARD {OUT}\n-A FORWARD -i kubelite0 -j ACCEPT"
    listing += f"\n-A INPUT {DNS}\n-A INPUT -i eth0 -m comment --comment mine -j ACCEPT"
    assert [" ".join(rule) for rule in own_rules(listing)] == [
        f"-D DOCKER-USER {IN}",
        f"-D FORWARD {OUT}",
        f"-D INPUT {DNS}",
    ]


def table(name: str, *chains: str) -> str:
    body = "".join(f"\tchain c{n} {{\n\t\t{text}\n\t}}\n" for n, text in enumerate(chains))
    return f"table {name} {{\n{body}}}\n"


FORWARD = "type filter hook forward priority 10; policy"


@pytest.mark.parametrize(
    ("listing", "found"),
    [
        ("", []),
        (table("inet own", f"{FORWARD} drop;"), ["inet own"]),
        (table("ip own", f"{FORWARD} accept;\n\t\tcounter packets 1 bytes 84 drop"), ["ip own"]),
        (table("inet f", f"{FORWARD} accept;\n\t\treject with icmpx admin-prohibited"), ["inet f"]),
        (table("ip6 own", f"{FORWARD} drop;"), []),
        (table("inet own", f"{FORWARD} accept;\n\t\tip saddr 192.0.2.1 drop"), []),
        (table("inet own", "type filter hook input priority 0; policy drop;"), []),
        (table("inet own", "drop", f"{FORWARD} accept;"), []),
        (table("inet own", f'{FORWARD} drop;\n\t\tiifname "kubelite0" accept'), []),
        (table("ip filter", f"{FORWARD} drop;"), []),
        (table("ip kubelite", f"{FORWARD} drop;"), []),
        (
            table("inet a", f"{FORWARD} drop;") + table("inet b", f"{FORWARD} drop;"),
            ["inet a", "inet b"],
        ),
    ],
)
def test_tables_that_drop_what_pods_send(listing: str, found: list[str]) -> None:
    assert droppers(listing, "kubelite0", IPV4) == found
