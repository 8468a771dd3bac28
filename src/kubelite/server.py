"""The composition root of the all-in-one process: everything there is, in the order in which it starts.

What starts later stops earlier. Nothing is made on disk before the port and the data folder are known to be ours.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import uvloop

from kubelite import collector
from kubelite import log as log_lines
from kubelite.api.auth import pki as identities
from kubelite.api.auth.caller import AUTHENTICATED, Caller
from kubelite.api.auth.pki import Pki, wait_for_clock
from kubelite.api.auth.sealing import seal_all
from kubelite.api.auth.signing import CertificateSigner, read_request
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.http.app import APIServer
from kubelite.api.http.assembly import assemble
from kubelite.api.http.destinations import Destinations
from kubelite.api.http.flow_control import FlowControl
from kubelite.api.registry.bootstrap import CALLER
from kubelite.api.registry.expiry import EventExpiry
from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.control import CONTROLLERS
from kubelite.control.options import Options
from kubelite.control.runtime import Runtime
from kubelite.control.scheduler.scheduler import Scheduler
from kubelite.control_plane import ControlPlane, ServedResources
from kubelite.net.host_addresses import HostAddresses
from kubelite.net.kube_dns import ensure_kube_dns
from kubelite.offload import Offload, WorkerThread
from kubelite.preparation import (
    CannotStart,
    allow_many_files,
    host_addresses,
    listen,
    oidc_tokens,
    open_audit_log,
    open_store,
    own_address,
    pki_arguments,
    prepare_folder,
    reachable,
    read_static_tokens,
    require_network_rights,
    require_node_name,
    write_kubeconfig,
)
from kubelite.randomness import SystemRandomness
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
# The thread that writes to disk lets go of the interpreter for each row, and a busy loop hands it back no sooner.
SWITCH_SECONDS = 0.0005


def run(config: Config) -> None:
    """Run a server until SIGTERM or SIGINT; raises CannotStart."""
    started = time.monotonic()
    log_lines.setup(debug=config.debug)
    collector.pause()
    allow_many_files()
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop.run(_serve(config, started))


async def _serve(config: Config, started: float) -> None:
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    async with AsyncExitStack() as running:
        starting = loop.create_task(_start(config, running), name="start")
        stopping = loop.create_task(told_to_stop.wait(), name="wait for the signal to stop")
        stopping.add_done_callback(lambda _: starting.cancel())
        with suppress(
            asyncio.CancelledError
        ):  # told to stop amid the start, which may wait for the clock
            await starting
            collector.resume()
            _greet(config, time.monotonic() - started)
        await stopping
        log.info("stopping")
        loop.call_later(STOP_SECONDS, _give_up)


async def _start(config: Config, running: AsyncExitStack) -> None:
    clock, randomness, tasks = SystemClock(), SystemRandomness(), TaskSet()
    offload = WorkerThread()
    running.callback(offload.close)
    require_node_name(config)
    if not config.disable_agent:
        require_network_rights()
    listener = listen(config)
    running.callback(listener.close)
    prepare_folder(Path(config.data_dir))
    await wait_for_clock(clock)
    store, sealing = await open_store(config, clock, randomness)
    running.push_async_callback(store.close)
    node_ip = config.node_ip or own_address()
    host = host_addresses(config)
    running.callback(host.close)
    known = await asyncio.to_thread(host.read)
    pki = await asyncio.to_thread(
        Pki.ensure,
        Path(config.data_dir) / "pki",
        clock=clock,
        randomness=randomness,
        **pki_arguments(config, node_ip, known),
    )
    auditor = await open_audit_log(config, running, clock, randomness)
    plane = ControlPlane(
        store,
        clock=clock,
        randomness=randomness,
        signing_keys=pki.signing_keys,
        certificates=ClientCertificates(pki.trusted, clock),
        config=config,
        static_tokens=await asyncio.to_thread(read_static_tokens, config),
        remote_tokens=oidc_tokens(config, clock),
        offload=offload,
        auditor=auditor,
    )
    await plane.bootstrap(node_ip, listener.getsockname()[1])
    await ensure_kube_dns(plane.client(CALLER, "kube-apiserver"), config.dns_address)
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
            address=f"{node_ip}:{listener.getsockname()[1]}",
            destinations=Destinations(
                own=lambda: pki.serving_addresses,
                port=listener.getsockname()[1],
                service=config.api_address,
                node=(config.name_of_node, node_ip),
            ),
            flow=flow,
            issuer=plane.tokens,
            auditor=auditor,
        ),
        ssl_context=pki.server_context(),
    )
    await api.serve(listener)
    running.push_async_callback(api.stop, 1.0)
    server = f"https://{reachable(config.bind_address)}:{listener.getsockname()[1]}"
    write_kubeconfig(config, pki.kubeconfig(server))
    running.push_async_callback(tasks.stop)
    tasks.supervise(pki.keep_fresh, name="renew certificates")
    tasks.supervise(
        lambda: _follow_addresses(config, pki, host, node_ip, known), name="follow host addresses"
    )
    if sealing is not None:
        work = partial(seal_all, sealing, config.secrets_key_file, store.between_commits)
        tasks.supervise(work, name="seal Secrets")
    expiry = EventExpiry(store, clock=clock, tasks=tasks)
    expiry.start()
    running.callback(expiry.stop)
    await _start_control(config, running, plane, pki, offload)
    if not config.disable_agent:
        await _start_worker(config, running, plane, pki, node_ip, offload)


async def _start_control(
    config: Config, running: AsyncExitStack, plane: ControlPlane, pki: Pki, offload: Offload
) -> None:
    mirrors = plane.client(Caller("system:kube-controller-manager"), "kube-controller-manager")
    runtime = Runtime(
        CONTROLLERS,
        client_for=plane.controller_client,
        mirrors=mirrors,
        clock=SystemClock(),
        randomness=SystemRandomness(),
        offload=offload,
        options=Options(
            cluster_cidrs=(ip_network(config.cluster_cidr),),
            cluster_ca=pki.ca_pem.decode(),
            resources=ServedResources(plane.resources),
            signer=CertificateSigner(pki, SystemClock(), SystemRandomness()),
            read_request=read_request,
            token_issuer=plane.tokens,
        ),
    )
    await runtime.start()
    plane.probes["controller-manager"] = lambda: ""
    running.push_async_callback(runtime.stop)
    scheduling = plane.client(Caller("system:kube-scheduler"), "kube-scheduler")
    scheduler = Scheduler(
        client=scheduling,
        mirrors=scheduling,
        clock=SystemClock(),
        randomness=SystemRandomness(),
        offload=offload,
    )
    await scheduler.start()
    plane.probes["scheduler"] = lambda: ""
    running.push_async_callback(scheduler.stop)


async def _follow_addresses(
    config: Config, pki: Pki, host: HostAddresses, node_ip: str, known: tuple[str, ...]
) -> None:
    """Put new addresses of the host into the serving certificates, for ever."""
    async for addresses in host.changes(known):
        await asyncio.to_thread(pki.update, **pki_arguments(config, node_ip, addresses))


async def _start_worker(
    config: Config,
    running: AsyncExitStack,
    plane: ControlPlane,
    pki: Pki,
    address: str,
    offload: Offload,
) -> None:
    # Half of the start-up time is in what only a node needs.
    from kubelite.net.dns import CannotListen
    from kubelite.net.nftables import RulesUnavailable
    from kubelite.worker import Identities, Worker

    node = Caller(f"system:node:{config.name_of_node}", ("system:nodes", AUTHENTICATED))
    network = Caller("system:kube-proxy", (AUTHENTICATED,))
    worker = Worker(
        config,
        Identities(plane.client(node, "kubelet"), plane.client(network, "kube-proxy")),
        address=address,
        tls=pki.server_context(identities.KUBELET_SERVING),
        clock=SystemClock(),
        randomness=SystemRandomness(),
        offload=offload,
    )
    try:
        await worker.start()
    except (RulesUnavailable, CannotListen, PermissionError) as error:
        raise CannotStart(f"cannot set up the node's network: {error}") from error
    except OSError as error:
        raise CannotStart(
            f"cannot listen on {config.bind_address}:{config.kubelet_port}: {os.strerror(error.errno or 0)}"
        ) from error
    running.push_async_callback(worker.stop)


def _greet(config: Config, seconds: float) -> None:
    sys.stderr.write(
        f"kubelite is ready after {seconds:.1f} s; try\n"
        f"    export KUBECONFIG={config.write_kubeconfig}\n"
        "    kubectl get nodes\n"
        "    kubectl apply -f examples/hello/\n"
    )
    sys.stderr.flush()


def _give_up() -> None:
    log.error("did not stop in time")
    os._exit(1)
