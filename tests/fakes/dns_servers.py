"""DNS servers over mirrors that a test fills."""

from fakes.mirrored import MirroringClient
from kubelite.api.client.events import EventRecorder
from kubelite.clock import SystemClock
from kubelite.net.dns import DNSServer
from kubelite.net.records import ZoneSettings
from kubelite.net.upstream import Upstream
from kubelite.offload import AtOnce
from kubelite.randomness import SeededRandomness


def dns_server(
    client: MirroringClient, upstream: Upstream, *addresses: tuple[str, int]
) -> DNSServer:
    """Return a server that is to listen at these addresses."""
    api = client.as_client()
    events = EventRecorder(api, SystemClock(), SeededRandomness(1), component="kube-dns")
    return DNSServer(api, upstream, ZoneSettings(), addresses, AtOnce(), events)
