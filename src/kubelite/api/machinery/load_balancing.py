"""What controllers and nodes agree on about Services of type LoadBalancer."""

from collections.abc import Sequence

from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.meta import Condition

CLASS = "kubelite.io/load-balancer"  # as good as no class
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
ANNOUNCED = (
    "kubelite.io/Announced"  # its message is the name of the node that answers for a pool's address
)
VIP = "VIP"  # of ipMode: packets arrive with the load balancer's address as their destination
OVERLAY_PORT = 8472  # UDP, between nodes


def is_ours(service: Service) -> bool:
    """Return whether a Service is to have addresses of kubelite's; those of other classes are others'."""
    return service.spec.type == "LoadBalancer" and service.spec.loadBalancerClass in (None, CLASS)


def addresses_of(service: Service) -> Sequence[str]:
    """Return the addresses in a Service's status at which nodes get its packets."""
    if service.spec.type != "LoadBalancer":
        return ()
    found = service.status.loadBalancer.ingress
    return [entry.ip for entry in found if entry.ip and entry.ipMode in (None, VIP)]


def announcement_of(service: Service) -> Condition | None:
    """Return the condition that says which node answers for a Service's address of a pool."""
    return next((one for one in service.status.conditions if one.type == ANNOUNCED), None)


def announcer_of(service: Service) -> str:
    """Return the name of the node that answers for a Service's address of a pool; "" if none does."""
    found = announcement_of(service)
    return found.message if found is not None and found.status == "True" else ""
