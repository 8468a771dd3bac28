"""The service object of the DNS server."""

from kubelite.net.kube_dns import kube_dns


def test_it_has_the_address_that_nodes_answer_at_and_selects_nothing() -> None:
    service = kube_dns("10.43.0.10")
    assert service.spec.clusterIP == "10.43.0.10"
    assert not service.spec.selector
    assert {(port.port, port.protocol) for port in service.spec.ports} == {(53, "UDP"), (53, "TCP")}
