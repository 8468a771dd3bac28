"""Which frames a pod's link lets through, and how the kernel's table is kept so; no kernel."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from kubelite.net.link_bindings import Binding, LinkBindings, difference, link_rules, replace_all
from kubelite.net.nftables import Nftables, RulesRefused
from kubelite.net.rule_watch import UNKNOWN

BRIDGE = bytes.fromhex("0a580a2a0001")
ONE = Binding(bytes.fromhex("0a580a2a0002"), ("10.42.0.2", "fd42::2"))
TWO = Binding(bytes.fromhex("0a580a2a0003"), ("10.42.0.3",))


class Kernel:
    """Records transactions; refuses those that contain a word."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.refused = ""
        self.during: Callable[[], None] = lambda: None

    async def run(self, commands: str) -> str:
        await asyncio.sleep(0)
        if self.refused and self.refused in commands:
            raise RulesRefused("Operation not supported")
        self.ran.append(commands)
        self.during()
        return ""


def bindings_on(kernel: Kernel) -> LinkBindings:
    return LinkBindings(cast(Nftables, kernel))


def test_a_link_lets_through_what_bears_its_pods_addresses_and_drops_the_rest() -> None:
    rules = link_rules(ONE, BRIDGE)
    checks = rules.index("ether type != { arp, ip, ip6 } drop")
    mac = "ether daddr 0a:58:0a:2a:00:01 ether saddr 0a:58:0a:2a:00:02"
    assert rules[:checks] == [
        f"{mac} ether type ip ip saddr 10.42.0.2 accept",
        f"{mac} ether type ip6 meta l4proto != ipv6-icmp ip6 saddr fd42::2 accept",
    ]
    assert rules[-1] == "drop"
    accepting = [rule for rule in rules if rule.endswith(" accept")]
    assert all("10.42.0.2" in rule or "fd42::2" in rule for rule in accepting)
    assert len(accepting) == 5
    assert not any("ip6 saddr" in rule for rule in link_rules(TWO, BRIDGE))


def test_a_difference_touches_the_links_that_changed_only() -> None:
    assert difference({"kl1": ONE}, {"kl1": ONE}, BRIDGE) == ""
    added = difference({"kl1": ONE}, {"kl1": ONE, "kl2": TWO}, BRIDGE)
    assert "kl1" not in added
    assert added.endswith('add element bridge kubelite pods { "kl2" : goto kl2 }\n')
    removed = difference({"kl1": ONE, "kl2": TWO}, {"kl2": TWO}, BRIDGE)
    assert removed.splitlines() == [
        'delete element bridge kubelite pods { "kl1" }',
        "flush chain bridge kubelite kl1",
        "delete chain bridge kubelite kl1",
    ]
    moved = difference({"kl1": ONE}, {"kl1": TWO}, BRIDGE)
    assert "flush chain bridge kubelite kl1" in moved  # before the rules of the new addresses
    assert "10.42.0.2" not in moved


def test_pods_that_are_connected_at_the_same_time_share_a_transaction() -> None:
    async def main() -> None:
        kernel = Kernel()
        bindings = bindings_on(kernel)
        await bindings.start(BRIDGE, {})
        kernel.ran.clear()
        await asyncio.gather(*(bindings.bind(f"kl{n}", ONE) for n in range(110)))
        assert len(kernel.ran) <= 2
        assert all(f'"kl{n}"' in "".join(kernel.ran) for n in range(110))
        assert bindings.is_current

    asyncio.run(main())


def test_a_kernel_without_tables_for_bridges_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        kernel = Kernel()
        kernel.refused = "bridge"
        bindings = bindings_on(kernel)
        await bindings.start(BRIDGE, {"kl1": ONE})
        await bindings.bind("kl2", TWO)
        await bindings.unbind("kl2")
        bindings.changed_by_others({"kubelite", UNKNOWN})
        await bindings.apply()
        assert kernel.ran == []
        assert bindings.is_current

    asyncio.run(main())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "CAP_NET_RAW" in caplog.text


def test_a_pod_that_cannot_be_bound_is_not_connected() -> None:
    async def main() -> None:
        kernel = Kernel()
        bindings = bindings_on(kernel)
        await bindings.start(BRIDGE, {})
        kernel.refused = "kl1"
        with pytest.raises(RulesRefused):
            await bindings.bind("kl1", ONE)
        assert not bindings.is_current
        kernel.refused = ""
        await bindings.apply()
        assert kernel.ran[-1] == replace_all({"kl1": ONE}, BRIDGE)
        assert bindings.is_current

    asyncio.run(main())


def test_a_difference_that_is_refused_is_followed_by_the_whole_table() -> None:
    async def main() -> None:
        kernel = Kernel()
        bindings = bindings_on(kernel)
        await bindings.start(BRIDGE, {"kl1": ONE})
        kernel.refused = "delete element"
        await bindings.unbind("kl1")
        assert kernel.ran[-1] == replace_all({}, BRIDGE)
        assert bindings.is_current

    asyncio.run(main())


def test_a_flush_that_comes_during_a_transaction_is_not_forgotten() -> None:
    async def main() -> None:
        kernel = Kernel()
        bindings = bindings_on(kernel)
        await bindings.start(BRIDGE, {"kl1": ONE})
        kernel.during = lambda: bindings.changed_by_others({"kubelite"})
        await bindings.bind("kl2", TWO)
        assert not bindings.is_current
        kernel.during = lambda: None
        await bindings.apply()
        assert kernel.ran[-1] == replace_all({"kl1": ONE, "kl2": TWO}, BRIDGE)
        assert bindings.is_current

    asyncio.run(main())


def test_lost_notifications_are_followed_by_a_look_at_the_table() -> None:
    async def main() -> None:
        kernel = Kernel()
        bindings = bindings_on(kernel)
        await bindings.start(BRIDGE, {"kl1": ONE})
        bindings.changed_by_others({UNKNOWN})
        assert not bindings.is_current
        await bindings.apply()  # the listing is empty: the table is gone
        assert kernel.ran[-1] == replace_all({"kl1": ONE}, BRIDGE)
        assert bindings.is_current

    asyncio.run(main())
