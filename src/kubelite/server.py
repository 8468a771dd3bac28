"""The composition root of the all-in-one process: all parts, in the order in which they start.

Parts stop in reverse order. Nothing is created on disk before the process holds the port and the data folder.
"""

import asyncio
import logging
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from kubelite import collector
from kubelite import log as log_lines
from kubelite.addons.controller import Addons
from kubelite.api.auth import pki as identities
from kubelite.api.auth.caller import AUTHENTICATED, SYSTEM_MASTERS, Caller
from kubelite.api.auth.certificates import certificate_pem
from kubelite.api.auth.extension_authentication import trust_of
from kubelite.api.auth.front_proxies import FrontProxies, ProxyAuthority
from kubelite.api.auth.lookup import Lookup
from kubelite.api.auth.pki import Pki, wait_for_clock
from kubelite.api.auth.sealing import seal_all
from kubelite.api.auth.signing import CertificateSigner, read_request
from kubelite.api.auth.tls import trust_in_handshakes
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.events import EventRecorder
from kubelite.api.http.app import APIServer
from kubelite.api.http.assembly import assemble
from kubelite.api.http.delegation import APIServiceProbe, Delegation, ShownCertificate
from kubelite.api.http.destinations import Destinations
from kubelite.api.http.flow_control import FlowControl
from kubelite.api.http.tunnels import Tunnels
from kubelite.api.http.webhooks import Webhooks
from kubelite.api.registry.bootstrap import CALLER
from kubelite.api.registry.expiry import EventExpiry
from kubelite.clock import Clock, SystemClock
from kubelite.composition import Composition, node_client
from kubelite.config import INGRESS, METRICS_SERVER, SERVICE_LB, Config
from kubelite.control.options import IngressOptions, LoadBalancing, Options
from kubelite.control.scheduler.load import loads_of
from kubelite.control.scheduler.requests import Amounts
from kubelite.control_plane import ControlPlane
from kubelite.doctor import start as examination
from kubelite.net.host_addresses import HostAddresses, HostView
from kubelite.offload import Offload, WorkerThread
from kubelite.parts import Parts
from kubelite.preparation import (
    OpenedStore,
    endpoint_address,
    listen,
    oidc_tokens,
    open_audit_log,
    open_pki,
    open_store,
    pki_arguments,
    proxy_authorities,
    reachable,
    read_static_tokens,
    server_identity,
    write_kubeconfig,
)
from kubelite.prerequisites import (
    CannotStart,
    allow_many_files,
    host_addresses,
    in_url,
    prepare_folder,
    require_network_rights,
    require_node_name,
)
from kubelite.randomness import SystemRandomness
from kubelite.running import until_stopped
from kubelite.system_needs import extension_need
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    from kubelite.node.simulated.fleet import Fleet

log = logging.getLogger(__name__)

# The disk thread releases the GIL for each row and waits this long to get it back from a busy loop.
SWITCH_SECONDS = 0.0005


def run(config: Config) -> None:
    """Run a server until SIGTERM or SIGINT; raises CannotStart or ServerFailed."""
    started = time.monotonic()
    log_lines.setup(debug=config.debug, form=config.log_format)
    collector.pause()
    allow_many_files()
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop.run(
        until_stopped(partial(_start, config), lambda: _greet(config, time.monotonic() - started))
    )


async def _start(config: Config, running: AsyncExitStack, fail: Callable[[str], None]) -> None:
    clock, randomness, tasks = SystemClock(), SystemRandomness(), TaskSet()
    require_node_name(config)
    if not config.disable_agent:
        require_network_rights("; --disable-agent runs the control plane only")
    listener = listen(config)
    running.callback(listener.close)
    prepare_folder(Path(config.data_dir))
    await wait_for_clock(clock)
    store, sealing = await open_store(config, clock, randomness)
    store.on_broken(fail)
    running.push_async_callback(store.close)
    host = host_addresses(config, config.cluster)
    running.callback(host.close)
    await host.start()
    pki = await asyncio.to_thread(open_pki, config, host.view, clock, randomness)
    offload = WorkerThread()
    running.callback(offload.close)
    auditor = await open_audit_log(config, running, clock, randomness)
    tunnels = Tunnels()

    def webhooks(lookup: Lookup) -> Webhooks:
        made = Webhooks(lookup, randomness, tunnels)
        running.push_async_callback(made.close)
        return made

    authorities = await asyncio.to_thread(proxy_authorities, config, pki)
    plane = ControlPlane(
        store,
        clock=clock,
        randomness=randomness,
        signing_keys=pki.signing_keys,
        certificates=ClientCertificates(pki.trusted, clock),
        proxies=FrontProxies(authorities, clock),
        needs=[extension_need(trust_of(pki.ca_pem, authorities), clock)],
        config=config,
        static_tokens=await asyncio.to_thread(read_static_tokens, config),
        remote_tokens=oidc_tokens(config, clock),
        offload=offload,
        auditor=auditor,
        hooks=webhooks,
    )
    port = listener.getsockname()[1]
    running.push_async_callback(plane.measuring.close)
    await plane.bootstrap(endpoint_address(config, host.view), port)
    if not plane.is_set_up:
        raise CannotStart(
            f"cannot set up the cluster in {config.store_dir}: {store.problem}; "
            "make room, or see --data-dir"
        )
    fleet = _simulated_nodes(config, plane)
    plane.delegated = delegation = Delegation(plane.mirrors)
    running.push_async_callback(delegation.close)
    flow = FlowControl()
    await flow.follow(plane.client(CALLER, "kube-apiserver"), clock)
    running.push_async_callback(flow.stop)
    api = APIServer(
        assemble(
            plane.verbs,
            plane.authenticator,
            plane.authorizer,
            clock=clock,
            randomness=randomness,
            node_tls=pki.client_context(identities.KUBELET_CLIENT),
            address=lambda: f"{in_url(host.view.node_address)}:{port}",
            destinations=Destinations(
                own=lambda: pki.serving_addresses,
                port=port,
                service=lambda: plane.service_addresses,
                node=lambda: (config.name_of_node, host.view.node_address),
            ),
            tunnels=tunnels,
            flow=flow,
            issuer=plane.tokens,
            auditor=auditor,
            ca_bundle=lambda: pki.ca_pem,
            delegation=delegation,
            front_proxy=lambda: _front_proxy(pki),
            reaches_nodes=plane.measuring.reach
            if fleet is None
            else fleet.reached(plane.measuring.reach),
            refusal_of_node=fleet.refusal if fleet is not None else lambda _: "",
        ),
        ssl_context=_server_context(pki, authorities),
    )
    running.callback(plane.on_release(lambda: api.drop(plane.authenticator.counts)))
    await api.serve(listener)
    running.push_async_callback(api.stop, 1.0)
    write_kubeconfig(config, pki.kubeconfig(f"https://{reachable(config.bind_address)}:{port}"))
    running.push_async_callback(tasks.stop)
    followers = [lambda view: plane.move(endpoint_address(config, view))]
    _keep_up(config, tasks, pki, host, plane, followers)
    _keep_store(config, OpenedStore(store, sealing), clock, tasks, running)
    parts = Parts(plane)
    running.push_async_callback(parts.stop)
    await _start_control(
        config, parts, plane, pki, host, offload, APIServiceProbe(delegation), port
    )
    await _start_simulation(parts, fleet)
    _follow_manifests(config, plane, tasks, running, offload)
    if not config.disable_agent:
        await _start_worker(config, parts, plane, pki, host, followers, offload)


def _simulated_nodes(config: Config, plane: ControlPlane) -> "Fleet | None":
    """Return the nodes to simulate; None if there are none. Raises CannotStart."""
    if not (config.simulate_nodes or config.simulation_file):
        return None
    # A node's imports take half of the start-up time.
    from kubelite.node.simulated.fleet import Fleet
    from kubelite.node.simulated.settings import (
        Simulation,
        SimulationInvalid,
        planned_nodes,
        read_simulation,
    )

    file = config.simulation_file
    try:
        simulation = read_simulation(Path(file)) if file else Simulation()
        nodes = planned_nodes(simulation, config.simulate_nodes)
    except SimulationInvalid as error:
        raise CannotStart(f"cannot simulate nodes: {error}; see --simulation-file") from error
    if not config.disable_agent and config.name_of_node in {node.name for node in nodes}:
        raise CannotStart(
            f"cannot simulate node {config.name_of_node}: this server's own node has the name; see --node-name"
        )

    client_of, every = partial(node_client, plane), plane.client(CALLER, "kubelet")
    return Fleet(simulation, nodes, client_of, every, SystemClock(), SystemRandomness())


async def _start_simulation(parts: Parts, fleet: "Fleet | None") -> None:
    if fleet is not None:
        await parts.start("simulation", lambda: fleet)


def _follow_manifests(
    config: Config, plane: ControlPlane, tasks: TaskSet, running: AsyncExitStack, offload: Offload
) -> None:
    """Apply the files of `server/manifests`, with the rights of an administrator, as they may hold any object."""
    client = plane.client(
        Caller("system:kubelite-addons", (SYSTEM_MASTERS, AUTHENTICATED)), "kubelite-addons"
    )
    events = EventRecorder(client, SystemClock(), SystemRandomness(), component="kubelite-addons")
    running.push_async_callback(events.close)
    addons = Addons(config.manifests_dir, client, events, offload)
    tasks.supervise(addons.run, name="follow server/manifests")


def _server_context(pki: Pki, authorities: Sequence[ProxyAuthority]) -> ssl.SSLContext:
    context = pki.server_context()
    for authority in authorities:
        trust_in_handshakes(context, certificate_pem(*authority.certificates))
    return context


def _keep_store(
    config: Config, opened: OpenedStore, clock: Clock, tasks: TaskSet, running: AsyncExitStack
) -> None:
    """Start what is done for the store as long as it is open: sealing, the expiry of events, snapshots."""
    store, sealing = opened
    if sealing is not None:
        work = partial(seal_all, sealing, config.secrets_key_file, store.between_commits)
        tasks.supervise(work, name="seal Secrets")
    expiry = EventExpiry(store, clock=clock, tasks=tasks)
    expiry.start()
    running.callback(expiry.stop)
    if config.snapshot_schedule_cron:
        from kubelite.backup.schedule import keep_schedule

        tasks.supervise(lambda: keep_schedule(config, clock), name="take snapshots")


def _front_proxy(pki: Pki) -> ShownCertificate:
    name = identities.FRONT_PROXY_CLIENT
    return ShownCertificate(pki.leaf(name).serial_number, pki.path(name))


async def _start_control(
    config: Config,
    parts: Parts,
    plane: ControlPlane,
    pki: Pki,
    host: HostAddresses,
    offload: Offload,
    probe: APIServiceProbe,
    port: int,
) -> None:
    clock, randomness = SystemClock(), SystemRandomness()
    options = Options(
        cluster_cidrs=tuple(map(ip_network, config.cluster_cidrs)),
        node_prefix_v4=config.node_prefixes[4],
        node_prefix_v6=config.node_prefixes[6],
        cluster_ca=pki.ca_pem.decode(),
        signer=CertificateSigner(pki, clock, randomness),
        read_request=read_request,
        server=lambda: server_identity(config, host.view, plane.service_addresses),
        token_issuer=plane.tokens,
        system=plane.system,
        probe_api_service=probe,
        serves_metrics=METRICS_SERVER not in config.disabled,
        load_balancing=LoadBalancing(
            SERVICE_LB not in config.disabled, config.load_balancer_ranges, port
        ),
        ingress=IngressOptions(
            INGRESS not in config.disabled, (config.ingress_http_port, config.ingress_https_port)
        ),
    )
    composition = Composition(
        plane,
        clock=clock,
        randomness=randomness,
        offload=offload,
        options=options,
        read_loads=partial(_node_loads, plane) if config.scheduler_load_aware else None,
    )
    await composition.start(parts, schedules=not config.disable_scheduler)


async def _node_loads(plane: ControlPlane) -> Mapping[str, Amounts]:
    return loads_of(await plane.measuring().nodes())


def _keep_up(
    config: Config,
    tasks: TaskSet,
    pki: Pki,
    host: HostAddresses,
    plane: ControlPlane,
    followers: Sequence[Callable[[HostView], None]],
) -> None:
    """Keep certificates and addresses right from now on, and warn once of what the host will make of it."""
    tasks.supervise(pki.keep_fresh, name="renew certificates")
    tasks.supervise(host.run, name="watch host addresses")
    tasks.supervise(
        lambda: _follow_addresses(config, pki, host, plane, followers), name="follow host addresses"
    )
    tasks.start(examination.warn(config), name="examine the host")


async def _follow_addresses(
    config: Config,
    pki: Pki,
    host: HostAddresses,
    plane: ControlPlane,
    followers: Sequence[Callable[[HostView], None]],
) -> None:
    """On each change of the host's addresses renew the serving certificates, then notify `followers`; for ever."""
    async for view in host.changes():
        try:
            wanted = pki_arguments(config, view, plane.service_addresses)
            await asyncio.to_thread(pki.update, **wanted)
        finally:  # a full disk must not keep the followers from the change; the supervisor retries
            for follow in followers:
                follow(view)


async def _start_worker(
    config: Config,
    parts: Parts,
    plane: ControlPlane,
    pki: Pki,
    host: HostAddresses,
    followers: list[Callable[[HostView], None]],
    offload: Offload,
) -> None:
    # These imports take half of the start-up time and only a node needs them, so they are made here.
    from kubelite.worker import Identities, Worker, node_failures

    kubelet = node_client(plane, config.name_of_node)
    network = Caller("system:kube-proxy", (AUTHENTICATED,))

    def make() -> Worker:
        worker = Worker(
            config,
            config.cluster,
            Identities(kubelet, plane.client(network, "kube-proxy")),
            addresses=host.view.node_addresses,
            tls=pki.server_context(identities.KUBELET_SERVING),
            clock=SystemClock(),
            randomness=SystemRandomness(),
            offload=offload,
        )
        followers[1:] = [lambda view: worker.move(view.node_addresses)]
        return worker

    with node_failures(config):
        await parts.start("kubelet", make)


def _greet(config: Config, seconds: float) -> None:
    if config.log_format == log_lines.JSON:
        ready = {"seconds": round(seconds, 3), "kubeconfig": config.write_kubeconfig}
        log.info("kubelite is ready", extra=ready)
        return
    what = (
        ("get namespaces",) if config.disable_agent else ("get nodes", "apply -f examples/hello/")
    )
    with suppress(OSError):  # stderr may be closed
        sys.stderr.write(
            f"kubelite is ready after {seconds:.1f} s; try\n"
            f"    export KUBECONFIG={config.write_kubeconfig}\n"
            + "".join(f"    kubectl {command}\n" for command in what)
        )
        sys.stderr.flush()
