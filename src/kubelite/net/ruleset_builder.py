"""Builds a ruleset, which does not change once it is built."""

from collections.abc import Iterable

from kubelite.net.health_ports import LocalEndpoints
from kubelite.net.ruleset import HAIRPIN, REFUSE, Ruleset


class RulesetBuilder:
    """Adds chains, sets and elements to a new ruleset; of a name that is added twice the last counts."""

    def __init__(self) -> None:
        self._built = Ruleset()

    def build(self) -> Ruleset:
        """Return the ruleset; nothing may be added afterwards."""
        return self._built

    def chain(self, name: str, rules: Iterable[str]) -> str:
        """Add a chain; return its name."""
        self._built.chains[name] = tuple(rules)
        return name

    def has_chain(self, name: str) -> bool:
        """Return whether a chain was added."""
        return name in self._built.chains

    def declare(self, name: str, declaration: str) -> bool:
        """Add a set as nft declares it; return whether it is new."""
        is_new = name not in self._built.sets
        self._built.sets[name] = declaration
        return is_new

    def element(self, collection: str, key: str, value: str = "") -> None:
        """Add an element to a set, or with a value to a map."""
        self._built.elements[collection, key] = value

    def refuse(self, collection: str, key: str) -> None:
        """Refuse what matches a key of a filter: TCP is reset, all else answered by ICMP."""
        self.element(collection, key, REFUSE)

    def claim(self, collection: str, key: str, value: str) -> None:
        """Add an element unless an earlier one has its key."""
        self._built.elements.setdefault((collection, key), value)

    def hairpin(self, address: str) -> None:
        """Let a pod of this node reach itself through a service or host port."""
        self.element(HAIRPIN, f"{address} . {address}")

    def udp(self, address: str, port: int, endpoints: Iterable[str]) -> None:
        """Record where UDP to an address ("": any of the node's) and port goes, for the clean-up of stale flows."""
        self._built.udp_endpoints[address, port] = frozenset(endpoints)

    def claim_udp(self, address: str, port: int, endpoints: Iterable[str]) -> None:
        """Record where UDP goes unless it was recorded before."""
        self._built.udp_endpoints.setdefault((address, port), frozenset(endpoints))

    def health_port(self, port: int, endpoints: LocalEndpoints) -> None:
        """Have the number of local endpoints answered on a port of the node."""
        self._built.health_ports[port] = endpoints

    def cut(self, policy_key: str) -> bool:
        """Record that a policy did not fit; return whether that is new."""
        is_new = policy_key not in self._built.cut_policies
        self._built.cut_policies.add(policy_key)
        return is_new
