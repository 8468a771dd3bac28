from fakes.server import AllowAll, Server

from kubelite.api.registry.bootstrap import NAMESPACES, Bootstrap


async def run(server: Server, endpoint: str = "192.0.2.1") -> None:
    await Bootstrap(server.verbs, AllowAll()).run(
        service_cidr=server.addresses.cidr,
        service_address=server.addresses.first_address,
        endpoint=endpoint,
        port=6443,
    )


async def test_a_cluster_begins_with_what_every_cluster_has() -> None:
    server = Server()
    await run(server)
    assert server.names("v1/namespaces") == sorted(NAMESPACES)
    service = server.get("v1/services", "kubernetes")
    assert service["spec"]["clusterIP"] == "10.43.0.1"
    assert service["spec"]["ports"][0]["targetPort"] == 6443
    endpoints = server.get("v1/endpoints", "kubernetes")
    assert endpoints["subsets"][0]["addresses"] == [{"ip": "192.0.2.1"}]
    assert server.names("networking.k8s.io/v1/servicecidrs") == ["kubernetes"]
    assert server.names("networking.k8s.io/v1/ipaddresses") == ["10.43.0.1"]
    classes = server.names("scheduling.k8s.io/v1/priorityclasses")
    assert classes == ["system-cluster-critical", "system-node-critical"]


async def test_a_second_start_writes_nothing_new() -> None:
    server = Server()
    await run(server)
    before = server.store.revision
    await run(server)
    assert server.store.revision == before


async def test_a_new_address_is_announced() -> None:
    server = Server()
    await run(server)
    await run(server, "192.0.2.9")
    endpoint = server.get("discovery.k8s.io/v1/endpointslices", "kubernetes")["endpoints"][0]
    assert endpoint["addresses"] == ["192.0.2.9"]
