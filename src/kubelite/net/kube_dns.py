"""The Service by which clients find the cluster's DNS server; nodes answer at its address themselves."""

from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.meta import ObjectMeta

NAMESPACE, NAME = "kube-system", "kube-dns"


def kube_dns(*addresses: str) -> Service:
    """Return the Service as it should be, with an address of each family of the cluster, the primary one first."""
    return Service(
        metadata=ObjectMeta(
            namespace=NAMESPACE,
            name=NAME,
            labels={
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",  # dashboards and tests search for this value
            },
        ),
        spec=ServiceSpec(
            clusterIP=addresses[0],
            clusterIPs=list(addresses),
            ipFamilyPolicy="PreferDualStack",
            type="ClusterIP",
            ports=[
                ServicePort(name="dns", port=53, protocol="UDP", targetPort=53),
                ServicePort(name="dns-tcp", port=53, protocol="TCP", targetPort=53),
            ],
        ),
    )
