"""Pods resolve names at the cluster's DNS address."""

import asyncio
from contextlib import ExitStack, suppress

from fakes.dns_servers import dns_server
from fakes.mirrored import MirroringClient
from fakes.network_objects import endpoint_slice, service

from integration.net_namespaces import (
    in_new_namespace,
    needs_root,
    process_in_namespace,
    shell,
)
from integration.net_node import proxy_of
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.net.kube_dns import kube_dns
from kubelite.net.pod_network import PodNetwork
from kubelite.net.upstream import Upstream
from kubelite.node.network import namespace_path
from kubelite.randomness import SystemRandomness

pytestmark = needs_root


REWRITE = "suffix shop default.svc.cluster.local"


def test_pods_and_the_node_look_names_up() -> None:
    async def main(stack: ExitStack) -> None:
        network = PodNetwork(local_addresses=["10.43.0.10"])
        await network.start("10.42.0.0/24")
        pid = stack.enter_context(process_in_namespace())
        await network.attach("a", "default/a", namespace_path(pid))
        client = MirroringClient()
        client.put(
            service(),
            service("bare", "None"),
            endpoint_slice("10.42.0.2", "10.42.0.3", service_name="bare"),
            kube_dns("10.43.0.10"),  # without endpoints: it must not make the rules refuse
        )
        upstream = Upstream(lambda: (), SystemRandomness())
        dns = dns_server(client, upstream, ("10.43.0.10", 53))
        proxy = proxy_of(client)
        await dns.start()
        await proxy.start()
        tasks = [asyncio.create_task(part.run()) for part in (dns, proxy)]
        await asyncio.wait_for(proxy.applied(), 5)

        async def look_up(name: str, where: str = f"nsenter -t {pid} -n") -> str:
            return await asyncio.to_thread(
                shell, f"{where} busybox nslookup -type=a {name} 10.43.0.10"
            )

        assert "Address: 10.43.0.5" in await look_up("web.default.svc.cluster.local")
        assert "Address: 10.43.0.5" in await look_up("web.default.svc.cluster.local", where="")
        assert "Address: 10.42.0.3" in await look_up("bare.default.svc.cluster.local")
        client.put(
            ConfigMap(
                metadata=ObjectMeta(name="kube-dns", namespace="kube-system", resourceVersion="1"),
                data={"hosts": "10.9.9.9 printer.example", "rewrites": REWRITE},
            )
        )
        assert "Address: 10.9.9.9" in await look_up("printer.example")
        assert "Address: 10.43.0.5" in await look_up("web.shop")

        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await dns.stop()
        await proxy.stop()
        await network.stop()

    in_new_namespace(main)
