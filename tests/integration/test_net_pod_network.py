"""Pods get addresses, in real namespaces."""

import asyncio
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fakes.network_objects import endpoint_slice, service

from integration.net_namespaces import (
    ask,
    in_new_namespace,
    needs_root,
    outside,
    process_in_namespace,
    shell,
)
from integration.net_node import PODS, Node, on_a_node
from kubelite.net.netlink import RouteSocket
from kubelite.net.pod_network import BRIDGE, PodNetwork, link_name
from kubelite.node.network import namespace_path

pytestmark = needs_root


def test_pods_reach_each_other_and_their_node() -> None:
    async def main(stack: ExitStack) -> None:
        network = PodNetwork(local_addresses=["10.43.0.10"])
        await network.start("10.42.0.0/24")
        one, two = (stack.enter_context(process_in_namespace()) for _ in range(2))
        assert await network.attach("uid-1", "default/one", namespace_path(one)) == ("10.42.0.2",)
        assert await network.attach("uid-2", "default/two", namespace_path(two)) == ("10.42.0.3",)
        for target in ("10.42.0.3", "10.42.0.1", "10.43.0.10", "127.0.0.1"):
            shell(f"nsenter -t {one} -n busybox ping -c1 -W1 {target}")
        shell("busybox ping -c1 -W1 10.42.0.2")
        await network.stop()

    in_new_namespace(main)


def test_restart_keeps_addresses_and_removes_what_was_left() -> None:
    async def main(stack: ExitStack) -> None:
        network = PodNetwork()
        await network.start("10.42.0.0/24")
        one, two, three = (stack.enter_context(process_in_namespace()) for _ in range(3))
        for pid, uid in ((one, "a"), (two, "b"), (three, "c")):
            await network.attach(uid, f"default/{uid}", namespace_path(pid))
        await network.stop()
        shell("ip link add kl0123456789ab type veth peer name other0")  # a crash half way
        shell("ip link add kl-mine type veth peer name mine0")

        again = PodNetwork()
        await again.start("10.42.0.0/24")
        await again.restore({"b": two, "c": three})
        links = shell("ip -o link")
        assert link_name("a") not in links
        assert "kl0123456789ab" not in links
        assert "kl-mine" in links
        assert link_name("b") in links
        index = next(line for line in links.splitlines() if link_name("b") in line)
        assert await again.attach("b", "default/b", namespace_path(two)) == ("10.42.0.3",)
        assert index in shell("ip -o link")  # not made anew
        await again.detach("c")
        assert link_name("c") not in shell("ip -o link")
        await again.remove_all()
        rest = shell("ip -o link")
        assert BRIDGE not in rest
        assert link_name("b") not in rest
        await again.stop()

    in_new_namespace(main)


def test_a_new_sandbox_of_a_pod_gets_the_pods_address() -> None:
    async def main(stack: ExitStack) -> None:
        network = PodNetwork()
        await network.start("10.42.0.0/24")
        one, two = (stack.enter_context(process_in_namespace()) for _ in range(2))
        first = await network.attach("a", "default/a", namespace_path(one))
        other = stack.enter_context(process_in_namespace())
        await network.attach("b", "default/b", namespace_path(other))
        shell(f"nsenter -t {one} -n busybox ping -c1 -W1 10.42.0.3")
        assert await network.attach("a", "default/a", namespace_path(two)) == first
        # Within a second of the last packet, in which the host believes no other hardware address.
        shell(f"nsenter -t {two} -n busybox ping -c1 -W1 10.42.0.3")
        shell("busybox ping -c1 -W1 10.42.0.2")
        await network.stop()

    in_new_namespace(main)


def test_a_namespace_has_many_paths_and_a_pod_is_in_one_namespace() -> None:
    async def main(stack: ExitStack) -> None:
        network = PodNetwork()
        await network.start("10.42.0.0/24")
        one, two = (stack.enter_context(process_in_namespace()) for _ in range(2))
        pinned = Path(stack.enter_context(TemporaryDirectory())) / "pinned"
        pinned.touch()
        shell(f"mount --bind {namespace_path(one)} {pinned}")
        stack.callback(shell, f"umount {pinned}")
        addresses = await network.attach("a", "default/a", str(pinned))
        before = shell("ip -o link")
        assert await network.attach("a", "default/a", namespace_path(one)) == addresses
        assert shell("ip -o link") == before  # not made anew
        assert await network.addresses_in("a", str(pinned)) == addresses
        assert await network.addresses_in("a", namespace_path(two)) == ()
        await network.attach("a", "default/a", namespace_path(two))
        assert await network.addresses_in("a", str(pinned)) == ()  # the pod has another sandbox
        assert await network.addresses_in("a", "/run/netns/gone") == ()
        assert await network.addresses_in("unknown", namespace_path(two)) == ()
        await network.stop()

    in_new_namespace(main)


@pytest.mark.parametrize("path", ["/proc/thread-self/ns/net", "/proc/self/ns/uts", ""])
def test_only_a_namespace_of_a_pod_is_connected(path: str) -> None:
    async def main(stack: ExitStack) -> None:
        network = PodNetwork()
        await network.start("10.42.0.0/24")
        fifo = Path(stack.enter_context(TemporaryDirectory())) / "fifo"
        os.mkfifo(fifo)
        with pytest.raises(OSError, match=r"Invalid argument|namespace of the host"):
            # The host's own link and default route would be replaced.
            await network.attach("a", "default/a", path or str(fifo))
        assert "eth0" not in shell("ip -o link")
        await network.stop()

    in_new_namespace(main)


def test_pods_take_the_uplinks_mtu() -> None:
    async def main(stack: ExitStack) -> None:
        stack.enter_context(outside())
        shell("ip link set uplink0 mtu 1400")
        network = PodNetwork()
        await network.start("10.42.0.0/24")
        pid = stack.enter_context(process_in_namespace())
        await network.attach("a", "default/a", namespace_path(pid))
        assert "mtu 1400" in shell(f"nsenter -t {pid} -n ip link show eth0")
        assert "mtu 1400" in shell(f"ip link show {BRIDGE}")
        await network.stop()

    in_new_namespace(main)


def test_a_sandbox_that_has_ended_is_told() -> None:
    async def main(stack: ExitStack) -> None:
        network = PodNetwork()
        await network.start("10.42.0.0/24")
        with process_in_namespace() as pid:
            pass
        with pytest.raises(ProcessLookupError, match="cannot connect pod default/a"):
            await network.attach("a", "default/a", namespace_path(pid))
        await network.stop()

    in_new_namespace(main)


def test_without_the_capability_there_is_one_clear_error() -> None:
    script = (
        "import asyncio; from kubelite.net.pod_network import PodNetwork, NetworkForbidden\n"
        "try: asyncio.run(PodNetwork().start('10.42.0.0/24'))\n"
        "except NetworkForbidden as error: print(error)"
    )

    async def main(stack: ExitStack) -> None:
        command = f"setpriv --bounding-set -net_admin --inh-caps -net_admin {sys.executable} -c"
        said = shell(f'{command} "{script}"')
        assert said == "cannot set up pod networking: needs root (CAP_NET_ADMIN)\n"
        assert BRIDGE not in shell("ip link")

    in_new_namespace(main)


@pytest.mark.parametrize("is_filtered", [0, 1])
def test_services_work_whether_or_not_bridged_packets_are_filtered(is_filtered: int) -> None:
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not switch.exists():
        pytest.skip("br_netfilter is not there")

    @on_a_node
    async def check(node: Node) -> None:
        switch.write_text(str(is_filtered))  # of this namespace only
        await node.put(service(), endpoint_slice(*PODS))
        answers = await ask("10.43.0.5", 80, times=30, pid=node.one)
        assert set(answers) == {"one 10.42.0.1", "two 10.42.0.2"}
        assert await ask(PODS[1], 8080, pid=node.one) == ["two 10.42.0.2"]

    check()


def test_a_pod_is_reachable_from_the_moment_it_is_attached() -> None:
    """The first pod of a fresh bridge was not in 6 of 100 cases, which cost a second of ARP."""

    async def main(stack: ExitStack) -> None:
        network = PodNetwork()
        await network.start("10.42.0.0/24")
        pid = stack.enter_context(process_in_namespace())
        await network.attach("a", "default/a", namespace_path(pid))
        assert await asyncio.to_thread(_running) >= {BRIDGE, link_name("a")}
        await network.stop()

    for _ in range(15):
        in_new_namespace(main)


def test_waiting_for_a_link_that_never_runs_ends() -> None:
    async def main(_: ExitStack) -> None:
        shell(
            "ip link add a0 type veth peer name b0 && ip link set a0 up"
        )  # the other end stays down
        await asyncio.to_thread(wait)

    def wait() -> None:
        with RouteSocket() as route:
            assert not route.wait_until_running("a0", 0.05)
            assert not route.wait_until_running("missing0", 0.05)
            shell("ip link set b0 up")
            assert route.wait_until_running("a0", 2)

    in_new_namespace(main)


def _running() -> set[str]:
    with RouteSocket() as route:
        return {link.name for link in route.links() if link.is_running}
