"""New addresses of a host are heard of, and get into the certificate of a server that runs."""

import asyncio
import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from testbed.hosts import Host, Server, missing_tools
from testbed.waiting import wait_for

from integration.net_namespaces import in_new_namespace, needs_root, shell
from kubelite.net.host_addresses import HostAddresses, HostView

pytestmark = needs_root
MISSING = missing_tools("root", "kubectl", "ip")


def test_addresses_come_and_go() -> None:
    async def main(stack: ExitStack) -> None:
        host = HostAddresses()
        stack.callback(host.close)
        shell("ip link set lo up")
        await host.start()
        watching = asyncio.create_task(host.run())
        changes = host.changes()
        assert (await anext(changes)).addresses == ()
        for command, expected in (
            ("add 192.0.2.7/24", ("192.0.2.7",)),
            ("add 192.0.2.8/24", ("192.0.2.7", "192.0.2.8")),
            ("del 192.0.2.8/24", ("192.0.2.7",)),
        ):
            shell(f"ip address {command} dev lo")
            assert await anext(changes) == HostView(expected, "192.0.2.7")
        shell("ip address del 192.0.2.7/24 dev lo")
        assert await anext(changes) == HostView()
        # A second address, and then a default route that prefers it: only the route changes.
        shell("ip address add 192.0.2.7/24 dev lo && ip address add 198.51.100.8/24 dev lo")
        both = ("192.0.2.7", "198.51.100.8")
        while await anext(changes) != HostView(both, "192.0.2.7"):
            pass
        shell("ip route add 192.0.2.0/28 dev lo src 198.51.100.8")
        assert await anext(changes) == HostView(both, "198.51.100.8")
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    in_new_namespace(main)


@pytest.mark.skipif(
    bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
)
def test_a_running_server_answers_under_a_new_address() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-addresses-"))
    host = Host("kubelite-addresses", folder)
    try:
        server = Server(host, folder, "--disable-agent")
        server.start()
        try:
            new = "--server=https://192.0.2.77:6443"
            host.run("ip", "address", "add", "192.0.2.77/32", "dev", "lo")

            def answers() -> bool:
                return server.kubectl(new, "get", "--raw", "/readyz", check=False) == "ok"

            wait_for(answers, "certificate with the new address", 10)
        finally:
            assert server.stop() == 0
    finally:
        host.close()
