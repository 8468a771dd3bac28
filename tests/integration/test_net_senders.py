"""A container that writes its packets itself sends from its pod's addresses only."""

import asyncio
from contextlib import ExitStack

from fakes.mirrored import MirroringClient

from integration.net_frames import (
    ARP,
    BROADCAST,
    IPV4,
    IPV6,
    advertisement,
    arp,
    frame,
    heard,
    hearing,
    ipv4,
    ipv6,
    mark,
    tagged,
)
from integration.net_namespaces import in_new_namespace, needs_root, process_in_namespace, shell
from integration.net_node import V4, V6, Node, on_a_node_of, proxy_of
from kubelite.net.pod_network import BRIDGE, PodNetwork, hardware_address, link_name
from kubelite.node.network import namespace_path

pytestmark = needs_root

GATEWAY, OWN, OTHER = map(hardware_address, ("10.42.0.1", "10.42.0.2", "10.42.0.3"))
BRIDGES_OWN = bytes.fromhex("0180c200000e")  # a group that no bridge passes on
GROUP_V4, GROUP_V6 = bytes.fromhex("01005e000005"), bytes.fromhex("333300000005")
TO_HOST_V6 = (GATEWAY, OWN, IPV6)
LAST = "question to all"
# By name; what a pod may send begins with "own".
TO_THE_HOST = {
    "own ipv4": (GATEWAY, OWN, IPV4, ipv4("10.42.0.2", "10.42.0.1", "own ipv4")),
    "own ipv6": (GATEWAY, OWN, IPV6, ipv6("fd42::2", "fd42::1", "own ipv6")),
    "own arp": (GATEWAY, OWN, ARP, arp(2, OWN, "10.42.0.2", "10.42.0.1", "own arp")),
    "own nd": (*TO_HOST_V6, advertisement("fd42::2", "fd42::1", "fd42::2", OWN, "own nd")),
    "ipv4": (GATEWAY, OWN, IPV4, ipv4("10.42.0.3", "10.42.0.1", "ipv4")),
    "nobody": (GATEWAY, OWN, IPV4, ipv4("198.51.100.7", "10.42.0.1", "nobody")),
    "the host": (GATEWAY, OWN, IPV4, ipv4("10.42.0.1", "10.42.0.1", "the host")),
    "mac": (GATEWAY, OTHER, IPV4, ipv4("10.42.0.2", "10.42.0.1", "mac")),
    "mac and ipv4": (GATEWAY, OTHER, IPV4, ipv4("10.42.0.3", "10.42.0.1", "mac and ipv4")),
    "arp": (GATEWAY, OWN, ARP, arp(2, OWN, "10.42.0.3", "10.42.0.1", "arp")),
    "gateway arp": (BROADCAST, OWN, ARP, arp(2, OWN, "10.42.0.1", "10.42.0.3", "gateway arp")),
    "arp mac": (GATEWAY, OWN, ARP, arp(2, OTHER, "10.42.0.2", "10.42.0.1", "arp mac")),
    "ipv6": (GATEWAY, OWN, IPV6, ipv6("fd42::3", "fd42::1", "ipv6")),
    "link's ipv6": (GATEWAY, OWN, IPV6, ipv6("fe80::1", "fd42::1", "link's ipv6")),
    "nd": (*TO_HOST_V6, advertisement("fd42::3", "fd42::1", "fd42::3", OWN, "nd")),
    "nd target": (*TO_HOST_V6, advertisement("fd42::2", "fd42::1", "fd42::3", OWN, "nd target")),
    "hidden nd": (
        *TO_HOST_V6,
        advertisement("fd42::2", "fd42::1", "fd42::3", OWN, "hidden nd", is_hidden=True),
    ),
    "nd to all": (
        GROUP_V6,
        OWN,
        IPV6,
        advertisement("fd42::2", "ff02::1", "fd42::3", OWN, "nd to all"),
    ),
    "bridge's group": (BRIDGES_OWN, OTHER, 0x88CC, mark("bridge's group")),
    "unknown kind": (GATEWAY, OWN, 0x88B5, mark("unknown kind")),
    LAST: (BROADCAST, OWN, ARP, arp(1, OWN, "10.42.0.2", "10.42.0.1", LAST)),
}
TAGGED = {
    "tagged": (GATEWAY, OWN, IPV4, ipv4("10.42.0.3", "10.42.0.1", "tagged")),
    "tagged nd": (*TO_HOST_V6, advertisement("fd42::2", "fd42::1", "fd42::3", OWN, "tagged nd")),
}
# What would reach the other pod without being routed, and so past the policies.
PAST_THE_HOST = {
    "straight ipv4": (OTHER, OWN, IPV4, ipv4("10.42.0.2", "10.42.0.3", "straight ipv4")),
    "straight ipv6": (OTHER, OWN, IPV6, ipv6("fd42::2", "fd42::3", "straight ipv6")),
    "straight arp": (OTHER, OWN, ARP, arp(2, OWN, "10.42.0.2", "10.42.0.3", "straight arp")),
    "ipv4 to all": (BROADCAST, OWN, IPV4, ipv4("10.42.0.2", "10.42.0.3", "ipv4 to all")),
    "ipv6 to group": (GROUP_V6, OWN, IPV6, ipv6("fd42::2", "fd42::3", "ipv6 to group")),
    "own group v4": (GROUP_V4, OWN, IPV4, ipv4("10.42.0.2", "224.0.0.5", "own group v4")),
    "own group v6": (GROUP_V6, OWN, IPV6, ipv6("fd42::2", "ff02::5", "own group v6")),
}
FRAMES = {name: frame(*words) for name, words in {**PAST_THE_HOST, **TO_THE_HOST}.items()}
FRAMES |= {name: tagged(frame(*words)) for name, words in TAGGED.items()}


async def expect_only_own(one: int, two: int) -> None:
    """Let pod one send every frame, and look at the links of the host and of pod two."""
    own = {name for name in TO_THE_HOST if name.startswith("own")}
    groups = {name for name in PAST_THE_HOST if name.startswith("own")}
    with hearing(BRIDGE) as host, hearing("eth0", two) as other:
        async with asyncio.timeout(10):
            at_host, at_other = await heard(FRAMES, one, host, other, last=LAST)
    assert at_host == own | groups | {LAST}
    assert at_other == groups | {LAST}
    learned = shell(f"bridge fdb show brport {link_name('one')}")
    assert OTHER.hex(":") not in learned
    neighbours = shell("ip neigh show dev kubelite0 ; ip -6 neigh show dev kubelite0")
    for line in neighbours.splitlines():
        if OWN.hex(":") in line:
            assert line.split()[0] in ("10.42.0.2", "fd42::2")


@on_a_node_of(V4, V6)
async def test_what_a_pod_sends_from_addresses_of_others_arrives_nowhere(node: Node) -> None:
    await expect_only_own(node.one, node.two)


@on_a_node_of(V4, V6)
async def test_bindings_are_back_after_all_rules_were_flushed(node: Node) -> None:
    shell("nft flush ruleset")
    async with asyncio.timeout(5):
        while node.proxy.table.generation < 1:
            await asyncio.sleep(0.01)
        await node.proxy.applied()
    await expect_only_own(node.one, node.two)


@on_a_node_of(V4, V6)
async def test_bindings_are_back_after_their_table_alone_was_removed(node: Node) -> None:
    shell("nft delete table bridge kubelite")
    async with asyncio.timeout(5):
        while node.proxy.table.generation < 1:
            await asyncio.sleep(0.01)
        await node.proxy.applied()
    await expect_only_own(node.one, node.two)


def test_pods_are_bound_again_after_a_restart_and_let_go_when_they_end() -> None:
    async def main(stack: ExitStack) -> None:
        one, two = (stack.enter_context(process_in_namespace()) for _ in range(2))
        pids = {"one": one, "two": two}
        for times in range(2):
            proxy = proxy_of(MirroringClient(), (V4, V6))
            await proxy.start()
            network = PodNetwork(bindings=proxy.bindings)
            await network.start("10.42.0.0/24", "fd42::/64")
            if times:  # before the pods of the last run are told
                await expect_only_own(one, two)
            await network.restore(pids)
            for uid, pid in pids.items():
                await network.attach(uid, f"default/{uid}", namespace_path(pid))
            await expect_only_own(one, two)
            await network.stop()
            await proxy.stop()
            shell("nft delete table bridge kubelite")  # by somebody, while nobody looks
        proxy = proxy_of(MirroringClient(), (V4, V6))
        await proxy.start()
        network = PodNetwork(bindings=proxy.bindings)
        await network.start("10.42.0.0/24", "fd42::/64")
        assert link_name("one") in shell("nft list table bridge kubelite")
        await network.restore({"two": two})
        assert link_name("one") not in shell("nft list table bridge kubelite")
        await network.detach("two")
        assert link_name("two") not in shell("nft list table bridge kubelite")
        await network.stop()
        await proxy.stop()

    in_new_namespace(main)
