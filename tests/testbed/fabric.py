"""The network between the hosts of a bed: one namespace with a bridge per link, a router, and a cable to each host.

Everything can be changed while hosts talk: cables are cut or slow or lossy, hosts parted, moved to another link.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterable
from itertools import product
from pathlib import Path

from testbed.fabric_rules import BRIDGE_PREFIX, Faults, ports, ruleset
from testbed.namespaces import Namespaces, network_alone
from testbed.topology import Topology

DELAYS = Path(__file__).with_name("delays.py")
SWITCHES = (
    "net.ipv4.ip_forward=1",
    # What is switched must not be taken for what is routed, or translation would reach into a link.
    "net.bridge.bridge-nf-call-iptables=0",
)


class Fabric:
    """The running network. Blocking; every change holds when the method returns."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._hosts = [host.name for host in topology.hosts]
        self._links = {host.name: host.link for host in topology.hosts}
        self._faults = Faults()
        self._delays: dict[str, tuple[float, float]] = {}
        self._delayer: subprocess.Popen[str] | None = None
        self.namespaces: Namespaces = network_alone()
        for number, link in enumerate(topology.links):
            bridge = BRIDGE_PREFIX + link.name
            self._ip(
                # With an address of its own, or it takes one of its ports, and another one when that goes.
                f"link add {bridge} address 0a:59:00:00:00:{number:02x} type bridge"
                " forward_delay 0 mcast_snooping 0",
                f"address add {link.router} dev {bridge}",
                f"link set {bridge} up",
            )
        for switch in SWITCHES:
            self.run("sysctl", "-q", "-e", "-w", switch)
        self._apply()

    def close(self) -> None:
        """Remove it with all cables."""
        if self._delayer is not None:
            self._delayer.kill()
            self._delayer.communicate()
        self.namespaces.close()

    def run(self, *arguments: str, text: str = "") -> str:
        """Run a command in the fabric's namespace; return what it printed."""
        line = self.namespaces.command(*arguments)
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, input=text)
        if done.returncode:
            raise AssertionError(f"{' '.join(arguments)} failed: {done.stderr}{text}")
        return done.stdout

    def connect(self, host: str, namespaces: Namespaces) -> None:
        """Lay the cable of a host: its end is `eth0`."""
        cable, _ = ports(host)
        # The kernel removes the cable of a host that was switched off, but not at once.
        with contextlib.suppress(AssertionError):
            self.run("ip", "link", "delete", cable)
        # The same one in each life of the host, as that of a real interface is: others remember it.
        address = f"0a:59:01:00:00:{self._hosts.index(host):02x}"
        self._ip(
            f"link add {cable} type veth peer name eth0 address {address} netns {namespaces.pid}"
        )
        self._plug(host)

    def unplug(self, host: str) -> None:
        """Pull a host's cable: the host sees that its link is down, and is no longer heard."""
        self._ip(f"link set {ports(host)[0]} down")

    def plug(self, host: str, link: str = "") -> None:
        """Plug a host's cable in again, or into another link."""
        self._links[host] = link or self._links[host]
        self._plug(host)

    def cut(self, *sides: Iterable[str] | str, one_way: bool = False) -> None:
        """Part hosts, or groups of hosts, from each other; `one_way`: only what the first sends to the others.

        Nobody is told: packets vanish. What they send to the router still arrives.
        """
        self._faults.cuts |= self._pairs(sides, one_way)
        self._apply()

    def isolate(self, host: str) -> None:
        """Part one host from all others."""
        self.cut(host, [other for other in self._hosts if other != host])

    def heal(self, *sides: Iterable[str] | str) -> None:
        """Undo the cuts between hosts or groups, in both directions; all cuts if none are given."""
        self._faults.cuts -= self._pairs(sides, False) if sides else set(self._faults.cuts)
        self._apply()

    def lose(self, host: str, *, sent: float = 0.0, received: float = 0.0) -> None:
        """Lose these shares, from 0 to 1, of the packets that a host sends and is sent.

        A packet counts as it crosses the fabric: up to 64 KiB of a TCP stream that is not cut up yet are one.
        """
        for shares, share in ((self._faults.lost_from, sent), (self._faults.lost_to, received)):
            shares.pop(host, None)
            if share:
                shares[host] = share
        self._apply()

    def delay(self, host: str, *, sent: float = 0.0, received: float = 0.0) -> None:
        """Delay what a host sends and is sent by these seconds; see the module `delays` for what it costs."""
        cable, slow = ports(host)
        if (sent or received) and host not in self._delays:
            self._tell(f"ADD {cable} {slow}")
            self._ip(
                f"link set {cable} nomaster",
                f"link set {slow} master {self._bridge(host)}",
                f"link set {slow} up",
            )
        if sent or received:
            self._tell(f"SET {cable} {received} {sent}")
            self._delays[host] = (sent, received)
        elif self._delays.pop(host, None):
            self._tell(f"DROP {cable}")
            self._ip(f"link set {cable} master {self._bridge(host)}")

    def mend(self) -> None:
        """Undo all cuts, losses and delays."""
        self._faults = Faults()
        self._apply()
        for host in list(self._delays):
            self.delay(host)

    def refused(self, link: str) -> int:
        """Return how many packets from outside wanted to begin a conversation with a host of a hidden link."""
        line = next(
            line
            for line in self.run("nft", "list", "chain", "ip", "bed", "forward").splitlines()
            if f'comment "{link}"' in line
        )
        words = line.split()
        return int(words[words.index("packets") + 1])

    def _plug(self, host: str) -> None:
        cable, _ = ports(host)
        delay = self._delays.pop(host, None)
        if delay:
            self._tell(f"DROP {cable}")
        self._ip(f"link set {cable} master {self._bridge(host)}", f"link set {cable} up")
        if delay:
            self.delay(host, sent=delay[0], received=delay[1])

    def _bridge(self, host: str) -> str:
        return BRIDGE_PREFIX + self._links[host]

    def _pairs(self, sides: tuple[Iterable[str] | str, ...], one_way: bool) -> set[tuple[str, str]]:
        first, *others = [{side} if isinstance(side, str) else set(side) for side in sides]
        pairs: set[tuple[str, str]] = set()
        for number, other in enumerate(others):
            pairs |= set(product(first, other))
            if not one_way:
                pairs |= set(product(other, first))
                for third in others[number + 1 :]:
                    pairs |= set(product(other, third)) | set(product(third, other))
        if unknown := {host for pair in pairs for host in pair} - set(self._hosts):
            raise ValueError(f"no such hosts: {sorted(unknown)}")
        return pairs

    def _apply(self) -> None:
        rules = ruleset(self._hosts, self._topology.links, self._faults)
        self.run("nft", "-f", "-", text=rules)

    def _ip(self, *commands: str) -> None:
        self.run("ip", "-batch", "-", text="\n".join(commands) + "\n")

    def _tell(self, command: str) -> None:
        """Give the delaying program a command and wait until it holds."""
        if self._delayer is None:
            line = self.namespaces.command(sys.executable, "-SEP", str(DELAYS))
            self._delayer = subprocess.Popen(
                line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._delayer.stdin is not None
        assert self._delayer.stdout is not None
        self._delayer.stdin.write(command + "\n")
        self._delayer.stdin.flush()
        if self._delayer.stdout.readline() != "done\n":
            raise AssertionError(f"the delaying program has ended at {command}")
