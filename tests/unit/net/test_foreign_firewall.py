"""Which rules a host's own firewall needs."""

import pytest

from kubelite.net.foreign_firewall import missing_rules, own_rules

IN = "-i kubelite0 -m comment --comment kubelite -j ACCEPT"
OUT = "-o kubelite0 -m comment --comment kubelite -j ACCEPT"
DOCKER = "-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN"


@pytest.mark.parametrize(
    ("listing", "missing"),
    [
        ("", []),
        ("-P INPUT DROP\n-P FORWARD ACCEPT", []),
        ("-P FORWARD DROP", [f"-I FORWARD {IN}", f"-I FORWARD {OUT}"]),
        (f"-P FORWARD DROP\n-A FORWARD {IN}", [f"-I FORWARD {OUT}"]),
        (DOCKER, [f"-I DOCKER-USER {IN}", f"-I DOCKER-USER {OUT}"]),
        (f"{DOCKER}\n-A DOCKER-USER {IN}\n-A DOCKER-USER {OUT}", []),
        ("-P FORWARD DROP\n-N DOCKER-USER", [f"-I FORWARD {IN}", f"-I FORWARD {OUT}"]),
    ],
)
def test_missing_rules(listing: str, missing: list[str]) -> None:
    assert [" ".join(rule) for rule in missing_rules(listing, "kubelite0")] == missing


def test_own_rules_are_found_again_and_no_others() -> None:
    listing = f"{DOCKER}\n-A DOCKER-USER {IN}\n-A FORWARD {OUT}\n-A FORWARD -i kubelite0 -j ACCEPT"
    assert [" ".join(rule) for rule in own_rules(listing, "kubelite0")] == [
        f"-D DOCKER-USER {IN}",
        f"-D FORWARD {OUT}",
    ]
