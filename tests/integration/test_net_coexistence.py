"""The pod network beside a host's firewalls, a VPN, small links and an administrator who removes rules."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager

from fakes.network_objects import NODE, endpoint_slice, service

from integration.net_namespaces import ask, needs_root, process_in_namespace, server, shell
from integration.net_node import PODS, Node, on_a_node
from kubelite.api.kinds.core.nodes import Node as KubeNode
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.net.foreign_firewall import OWN_RULE
from kubelite.net.reset import remove_network

pytestmark = needs_root

NODE_ADDRESS = "198.51.100.1"
LOST = ["TimeoutError"]

# What ufw 0.36 writes at `ufw enable` with `ufw allow 22/tcp`, without its chains for logging.
UFW = """
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-before-forward - [0:0]
:ufw-user-input - [0:0]
:ufw-user-forward - [0:0]
:ufw-reject-input - [0:0]
:ufw-not-local - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-reject-input
-A FORWARD -j ufw-before-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
-A ufw-not-local -j DROP
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""

# What firewalld 1.3 makes of its forwarding with the zone public, shortened to one zone.
FIREWALLD = """
table inet firewalld {
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    jump filter_FORWARD_ZONES
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD_ZONES {
    iifname "uplink0" goto filter_FWD_public
  }
  chain filter_FWD_public {
    oifname "uplink0" accept
  }
}
"""

ECHO = """
import socket
conversation, _ = socket.create_server(("0.0.0.0", 9999)).accept()
while text := conversation.recv(100):
    conversation.sendall(text)
"""

WAIT = "input()\n"
TALK = """
import socket, sys
conversation = socket.create_connection(("10.43.0.6", 80), 3)
print("ready", flush=True)
for line in sys.stdin:
    conversation.sendall(line.encode())
    print(conversation.recv(100).decode(), end="", flush=True)
"""

MSS = """
import socket, sys
conversation = socket.create_connection(("192.0.2.2", 8080), 3)
conversation.recv(100)
print(conversation.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
"""


@asynccontextmanager
async def connection(node: Node) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Connect pod two with pod one by a service; sends a line and returns its echo."""
    to_echo = endpoint_slice(PODS[0], service_name="echo", port=9999)
    await node.put(service("echo", "10.43.0.6"), to_echo)
    pipe = asyncio.subprocess.PIPE
    echo, client = [
        await asyncio.create_subprocess_exec(
            *("nsenter", "-t", str(pid), "-n", sys.executable, "-SEuc", program),
            stdin=pipe,
            stdout=pipe,
        )
        for pid, program in ((node.one, f"print(1)\n{ECHO}"), (node.two, WAIT + TALK))
    ]
    told, client_input, client_output = echo.stdout, client.stdin, client.stdout
    assert told is not None
    assert client_input is not None
    assert client_output is not None

    async def talk(text: str) -> str:
        client_input.write(f"{text}\n".encode())
        async with asyncio.timeout(5):
            return (await client_output.readline()).decode().strip()

    try:
        await told.readline()
        await until(f"nsenter -t {node.one} -n ss -Hltn sport = 9999", "9999")
        assert await talk("begin") == "ready"
        yield talk
    finally:
        for process in (client, echo):
            process.kill()
            await process.wait()


async def until(command: str, expected: str) -> None:
    async with asyncio.timeout(5):
        while expected not in await asyncio.to_thread(shell, command):
            await asyncio.sleep(0.02)


def feed(program: str, text: str) -> None:
    shell(f"{program} <<'END'\n{text}\nEND")


@on_a_node
async def test_ufw(node: Node) -> None:
    """Pods are forwarded and reach names and services; the node's other ports stay shut for them."""
    api = service("api", "10.43.0.1")
    of_node = endpoint_slice(NODE_ADDRESS, service_name="api", port=6443)
    await node.put(service(), endpoint_slice(*PODS), api, of_node)
    feed("iptables-restore", UFW)
    await until("iptables -S", "DNAT -m comment --comment kubelite")
    with server("node", 6443, "self"), server("names", 53, "self"), server("other", 7000, "self"):
        assert await ask(PODS[1], 8080, pid=node.one) == [f"two {PODS[0]}"]
        assert (await ask("10.43.0.5", 80, pid=node.one))[0].split()[0] in ("one", "two")
        assert await ask("10.43.0.1", 80, pid=node.one) == [f"node {PODS[0]}"]
        assert await ask("10.43.0.10", 53, pid=node.one) == [f"names {PODS[0]}"]
        assert await ask(NODE_ADDRESS, 7000, pid=node.one) == LOST
        assert await ask(NODE_ADDRESS, 6443, pid=node.far) == LOST
    node.running.cancel()
    assert await remove_network(["one", "two"])
    assert not any(OWN_RULE.match(line) for line in shell("iptables -S").splitlines())


@on_a_node
async def test_rules_of_iptables_come_back_when_an_administrator_flushes_them(node: Node) -> None:
    await node.put(service(), endpoint_slice(*PODS))
    shell("iptables -P FORWARD DROP; iptables -P INPUT DROP")
    await until("iptables -S", "DNAT -m comment --comment kubelite")
    async with connection(node) as talk:
        assert await talk("still there") == "still there"
        shell("iptables -F")
        await until("iptables -S FORWARD", "-o kubelite0")
        await until("iptables -S INPUT", "DNAT -m comment --comment kubelite")
        assert await talk("still there") == "still there"
    assert await ask(PODS[1], 8080, pid=node.one) == [f"two {PODS[0]}"]


@on_a_node
async def test_connections_go_on_when_an_administrator_flushes_all_rules(node: Node) -> None:
    await node.put(service(), endpoint_slice(*PODS))
    async with connection(node) as talk:
        for round_ in range(1, 4):
            shell("nft flush ruleset")
            async with asyncio.timeout(5):
                while node.proxy.table.generation < round_:
                    await asyncio.sleep(0.01)
                await node.proxy.applied()
            assert await talk("still there") == "still there"
            assert (await ask("10.43.0.5", 80, pid=node.one))[0].split()[0] in ("one", "two")


@on_a_node
async def test_a_table_that_drops_what_pods_send_is_named(node: Node) -> None:
    told: list[str] = []
    assert (
        node.proxy._tables_timer is not None
    )  # it has just looked, and looks again when that is over
    node.proxy._tables_timer.cancel()
    node.proxy._tables_rested()
    node.proxy._events.event = (  # type: ignore[method-assign]
        lambda item, kind, reason, message, **_: told.append(message)
    )
    node.client.put(KubeNode(metadata=ObjectMeta(name=NODE)))
    await node.put(service(), endpoint_slice(*PODS))
    feed("nft -f -", FIREWALLD)
    assert (await ask(PODS[1], 8080, pid=node.one)) != [f"two {PODS[0]}"]
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0.02)
    assert "inet firewalld" in told[0]
    # What `firewall-cmd --zone=trusted --add-interface=kubelite0` adds.
    shell("nft insert rule inet firewalld filter_FORWARD_ZONES 'iifname \"kubelite0\" accept'")
    assert await ask(PODS[1], 8080, pid=node.one) == [f"two {PODS[0]}"]
    assert (await ask("10.43.0.5", 80, pid=node.one))[0].split()[0] in ("one", "two")
    await node.put(service("other", "10.43.0.7"))
    assert len(told) == 1
    reads: list[str] = []
    run = node.proxy._nftables.run

    async def counted(commands: str) -> str:
        reads.append(commands)
        return await run(commands)

    node.proxy._nftables.run = counted  # type: ignore[method-assign]
    shell("nft add table ip mine")
    shell("nft 'add chain ip mine c { type filter hook forward priority 50; policy drop; }'")
    for number in range(5):
        shell(f"nft 'add chain ip mine c{number}'")
        await node.put(service("other", f"10.43.0.{20 + number}"))
    assert not any(commands.startswith("list tables") for commands in reads)
    node.proxy._tables_timer.cancel()
    node.proxy._tables_rested()
    async with asyncio.timeout(5):
        while len(told) < 2:
            await asyncio.sleep(0.02)
    assert "ip mine" in told[1]


@on_a_node
async def test_pods_follow_a_vpn_that_takes_the_default_route_and_its_small_packets(
    node: Node,
) -> None:
    with ExitStack() as stack:
        end = stack.enter_context(process_in_namespace())
        # Nobody tells of packets that are too large: its end of the link takes larger ones than it gets.
        shell(
            f"ip link add vpn0 mtu 1280 type veth peer name vpn0 netns {end};"
            f" ip address add 192.0.2.1/24 dev vpn0; ip link set vpn0 up;"
            f" nsenter -t {end} -n sh -ec 'ip address add 192.0.2.2/24 dev vpn0;"
            f" ip link set vpn0 up mtu 1500'; ip route replace default via 192.0.2.2"
        )
        stack.enter_context(server("vpn", 8080, end))
        assert await ask("192.0.2.2", 8080, pid=node.one) == ["vpn 192.0.2.1"]
        inside = f"nsenter -t {node.one} -n {sys.executable} -SEc '{MSS}'"
        assert int(await asyncio.to_thread(shell, inside)) <= 1280 - 40
