"""Wires the API server: object verbs, streams, non-resource paths, flow control and audit."""

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.authenticate import UnionAuthenticator
from kubelite.api.auth.caller import Authorizer
from kubelite.api.auth.tokens import TokenIssuer
from kubelite.api.http import metrics
from kubelite.api.http.backends import Backends
from kubelite.api.http.ca_page import ca_pages
from kubelite.api.http.delegation import Delegation, ShownCertificate
from kubelite.api.http.destinations import Destinations
from kubelite.api.http.dialer import TCPDialer
from kubelite.api.http.discovery import Discovery
from kubelite.api.http.dispatch import Flow, Parts
from kubelite.api.http.flow_control import FlowControl
from kubelite.api.http.health import live_checks, ready_checks
from kubelite.api.http.identity_pages import identity_pages
from kubelite.api.http.node_summaries import NodeSummaries
from kubelite.api.http.openapi import OpenAPIPages
from kubelite.api.http.pages import Pages
from kubelite.api.http.pod_streams import PodLog, PodStream
from kubelite.api.http.proxies import Proxy
from kubelite.api.http.relay import Relay
from kubelite.api.http.tunnels import PATH as TUNNEL_PATH
from kubelite.api.http.tunnels import TunnelDialer, TunnelEndpoint, Tunnels
from kubelite.api.registry.handlers import FetchSummary
from kubelite.api.registry.verbs import Verbs
from kubelite.clock import Clock
from kubelite.randomness import Randomness

if TYPE_CHECKING:
    from kubelite.api.http.aggregation.aggregation import Aggregation


def assemble(  # noqa: PLR0913 - it joins what a server is made of
    verbs: Verbs,
    authenticator: UnionAuthenticator,
    authorizer: Authorizer,
    *,
    clock: Clock,
    randomness: Randomness,
    node_tls: ssl.SSLContext,
    address: Callable[[], str],
    destinations: Destinations,
    flow: Flow | None = None,
    tunnels: Tunnels | None = None,
    issuer: TokenIssuer | None = None,
    auditor: Auditor | None = None,
    ca_bundle: Callable[[], bytes] | None = None,
    delegation: Delegation | None = None,
    front_proxy: Callable[[], ShownCertificate] | None = None,
    reaches_nodes: Callable[[FetchSummary], None] = lambda _: None,
    refusal_of_node: Callable[[str], str] = lambda _: "",
) -> Parts:
    """Return the dependencies of a Dispatcher whose clients connect to `address()` (host:port).

    `front_proxy` returns the certificate shown to the servers that `delegation` names.
    `refusal_of_node` returns why nothing on a node can be connected to, "" if it can.
    `reaches_nodes` is given how the statistics of a node are read.
    `destinations` decide which addresses the server may dial, directly or through one of `tunnels`.
    """
    backends = Backends(verbs, authorizer, randomness, node_tls=node_tls)
    tunnels = tunnels or Tunnels()
    dialer = TunnelDialer(tunnels, destinations, TCPDialer(destinations), refusal_of_node)
    relay = Relay(dialer)
    reaches_nodes(NodeSummaries(backends, dialer).fetch)
    delegation = delegation or Delegation()

    def aggregation() -> "Aggregation":
        # Most clusters delegate nothing, so what passes requests on is imported with the first APIService that does.
        from kubelite.api.http.aggregation.aggregation import Aggregation

        return Aggregation(
            delegation,
            dialer=dialer,
            randomness=randomness,
            offload=verbs.offload,
            front_proxy=front_proxy,
        )

    delegation.follow(aggregation)
    proxy = Proxy(backends, relay, authorizer)
    metrics.watch_store(verbs.writer.store, verbs.resources)
    return Parts(
        verbs=verbs,
        authenticator=authenticator,
        authorizer=authorizer,
        clock=clock,
        randomness=randomness,
        pages=Pages(
            Discovery(verbs.resources, address, verbs.offload, delegation),
            offload=verbs.offload,
            live=live_checks(verbs.writer.store),
            ready=ready_checks(verbs.writer.store),
            more={
                **OpenAPIPages(
                    verbs.resources,
                    serves_identity=issuer is not None,
                    offload=verbs.offload,
                    delegation=delegation,
                ).pages(),
                **(identity_pages(issuer, address) if issuer else {}),
                **(ca_pages(ca_bundle) if ca_bundle else {}),
            },
        ),
        streams={
            ("pods", "log"): PodLog(backends, relay),
            ("pods", "exec"): PodStream(backends, relay, authorizer, "exec"),
            ("pods", "attach"): PodStream(backends, relay, authorizer, "attach"),
            ("pods", "portforward"): PodStream(backends, relay, authorizer, "portForward"),
            ("pods", "proxy"): proxy,
            ("services", "proxy"): proxy,
            ("nodes", "proxy"): proxy,
        },
        upgrades={TUNNEL_PATH: TunnelEndpoint(tunnels, authenticator)},
        flow=flow or FlowControl(),
        auditor=auditor,
        delegation=delegation,
    )
