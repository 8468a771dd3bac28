"""Which rules of a firewall are a cluster's."""

from kubelite.clusters.network import own_rules
from kubelite.net.foreign_firewall import missing_rules


def test_the_rules_that_are_added_are_found_again() -> None:
    added = missing_rules("-P FORWARD DROP\n", "kl-abc")
    listing = "-P FORWARD DROP\n" + "\n".join(f"-A {' '.join(rule[1:])}" for rule in added)
    listing += "\n-A FORWARD -i kl-abcd -j ACCEPT\n-A FORWARD -i kubelite0 -j ACCEPT\n"
    assert own_rules(listing, "kl-abc") == [["-D", *rule[1:]] for rule in added]
    assert added
