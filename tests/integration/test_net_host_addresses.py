"""New addresses of a host are heard of, and get into the certificate of a server that runs."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hosts import Host, Server, missing_tools, wait_for

from integration.net_namespaces import in_new_namespace, needs_root, shell
from kubelite.net.host_addresses import HostAddresses

pytestmark = needs_root
MISSING = missing_tools("root", "kubectl", "ip")


def test_addresses_come_and_go() -> None:
    async def main(stack: ExitStack) -> None:
        host = HostAddresses()
        stack.callback(host.close)
        changes = host.changes(host.read())
        shell("ip link set lo up")
        for command, expected in (
            ("add 192.0.2.7/24", ("192.0.2.7",)),
            ("add 192.0.2.8/24", ("192.0.2.7", "192.0.2.8")),
            ("del 192.0.2.8/24", ("192.0.2.7",)),
        ):
            shell(f"ip address {command} dev lo")
            assert await anext(changes) == expected

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
