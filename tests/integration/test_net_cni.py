"""Pods connected by the CNI plugins of Debian: bridge, host-local, portmap, bandwidth and ptp."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from integration.net_namespaces import (
    ask,
    in_new_namespace,
    needs_root,
    outside,
    process_in_namespace,
    server,
    shell,
)
from kubelite.net.cni.calls import PluginFailed
from kubelite.net.cni.network import CniNetwork
from kubelite.node.network import HostPort, namespace_path

pytestmark = needs_root

PLUGINS = Path("/usr/lib/cni")
PORT = 8080
LIMITED = {"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "20M"}


def configure(folder: Path, first: dict[str, Any], *chained: dict[str, Any]) -> None:
    leases = {"type": "host-local", "subnet": "10.88.0.0/24", "dataDir": str(folder / "leases")}
    first |= {"ipam": {**leases, "routes": [{"dst": "0.0.0.0/0"}]}}
    document = {"cniVersion": "1.0.0", "name": "test", "plugins": [first, *chained]}
    (folder / "net.d").mkdir(exist_ok=True)
    (folder / "net.d" / "10-test.conflist").write_text(json.dumps(document))


def leased(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "leases" / "test").glob("10.*"))


def network_of(folder: Path) -> CniNetwork:
    return CniNetwork(
        files=folder / "connections",
        configs=folder / "net.d",
        programs=[folder / "none", PLUGINS],
        local_addresses=["10.43.0.10"],
        annotations=lambda key: LIMITED if key == "default/two" else {},
    )


def test_a_chain_of_bridge_port_mappings_and_bandwidth(tmp_path: Path) -> None:
    configure(
        tmp_path,
        {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    )

    async def main(stack: ExitStack) -> None:
        world = stack.enter_context(outside())
        network = network_of(tmp_path)
        await network.start()
        assert network.problem == ""
        one, two = (stack.enter_context(process_in_namespace()) for _ in range(2))
        stack.enter_context(server("one", PORT, one))
        port = HostPort(18080, PORT)
        ends = await network.attach("u1", "default/one", namespace_path(one), host_ports=[port])
        (other,) = await network.attach("u2", "default/two", namespace_path(two))
        assert (ends, other) == (("10.88.0.2",), "10.88.0.3")
        for target in (*ends, "10.88.0.1", "10.43.0.10", "127.0.0.1"):
            shell(f"nsenter -t {two} -n busybox ping -c1 -W1 {target}")
        (heard,) = await ask("198.51.100.1", 18080, pid=world)
        assert heard.startswith("one")
        assert "tbf" in shell("tc qdisc")

        again = network_of(tmp_path)  # a restart
        await again.start()
        await again.restore({"u1": one})
        assert leased(tmp_path) == ["10.88.0.2"]
        assert await again.addresses_in("u1", namespace_path(one)) == ("10.88.0.2",)
        assert await again.attach("u1", "default/one", namespace_path(one)) == ("10.88.0.2",)
        await again.detach("u1")
        assert leased(tmp_path) == []
        assert "veth" not in shell("ip -o link show master cni0")
        assert "18080" not in shell("iptables-save")
        assert list((tmp_path / "connections").iterdir()) == []

    in_new_namespace(main)


def test_a_sandbox_that_is_gone_is_disconnected_all_the_same(tmp_path: Path) -> None:
    configure(tmp_path, {"type": "ptp"})

    async def main(stack: ExitStack) -> None:
        network = network_of(tmp_path)
        await network.start()
        with process_in_namespace() as pid:
            path = namespace_path(pid)
            assert await network.attach("u1", "default/one", path) == ("10.88.0.2",)
            shell(f"nsenter -t {pid} -n busybox ping -c1 -W1 10.43.0.10")
        await network.detach("u1")
        assert leased(tmp_path) == []
        new = stack.enter_context(process_in_namespace())
        assert await network.attach("u1", "default/one", namespace_path(new)) == ("10.88.0.3",)
        with pytest.raises(OSError, match="is the network namespace of the host"):
            await network.attach("u2", "default/two", "/proc/thread-self/ns/net")

    in_new_namespace(main)


def test_a_range_without_a_free_address_is_told_in_the_plugins_words(tmp_path: Path) -> None:
    configure(tmp_path, {"type": "ptp"})

    async def main(stack: ExitStack) -> None:
        file = tmp_path / "net.d" / "10-test.conflist"
        file.write_text(file.read_text().replace("10.88.0.0/24", "10.88.0.0/30"))
        network = network_of(tmp_path)
        await network.start()
        one, two = (stack.enter_context(process_in_namespace()) for _ in range(2))
        await network.attach("u1", "default/one", namespace_path(one))
        with pytest.raises(PluginFailed, match="no IP addresses available in range set"):
            await network.attach("u2", "default/two", namespace_path(two))
        assert [file.name for file in (tmp_path / "connections").iterdir()] == ["u1.json"]

    in_new_namespace(main)
