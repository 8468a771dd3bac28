"""The composition root of the all-in-one process: everything there is, in the order in which it starts.

What starts later stops earlier. Nothing is made on disk before the port and the data folder are known to be ours.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path

import uvloop

from kubelite import log as log_lines
from kubelite.api.auth import pki as identities
from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy, PolicyInvalid
from kubelite.api.auth.caller import AUTHENTICATED, Caller
from kubelite.api.auth.encryption import (
    EncryptedEngine,
    EncryptionFailed,
    Transformer,
    ensure_keys,
)
from kubelite.api.auth.pki import Pki, serving_addresses, serving_names, wait_for_clock
from kubelite.api.auth.secret_files import write_file
from kubelite.api.auth.signing import CertificateSigner, read_request
from kubelite.api.auth.static_tokens import StaticTokens, TokenFileInvalid
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.http.app import APIServer
from kubelite.api.http.assembly import assemble
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
from kubelite.net.kube_dns import ensure_kube_dns
from kubelite.randomness import SystemRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.engine import Engine
from kubelite.store.lmdb_engine import StoreLocked, UnknownFormat
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
CAP_NET_ADMIN = 12  # its bit, see capability.h
# Documentation addresses: no packet is sent, the kernel only says which of its own addresses it would use.
ELSEWHERE = ("192.0.2.1", 9)


class CannotStart(Exception):
    """The server cannot start; the message is one line for the user."""


def run(config: Config) -> None:
    """Run a server until SIGTERM or SIGINT; raises CannotStart."""
    started = time.monotonic()
    log_lines.setup(debug=config.debug)
    uvloop.run(_serve(config, started))


async def _serve(config: Config, started: float) -> None:
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    async with AsyncExitStack() as running:
        await _start(config, running)
        _greet(config, time.monotonic() - started)
        await told_to_stop.wait()
        log.info("stopping")
        loop.call_later(STOP_SECONDS, _give_up)


async def _start(config: Config, running: AsyncExitStack) -> None:
    clock, randomness, tasks = SystemClock(), SystemRandomness(), TaskSet()
    if not config.disable_agent:
        _require_network_rights()
    listener = _listener(config)
    running.callback(listener.close)
    _prepare_folder(Path(config.data_dir))
    await wait_for_clock(clock)
    store = await _open_store(config, clock, randomness)
    running.push_async_callback(store.close)
    node_ip = config.node_ip or _own_address()
    pki = await asyncio.to_thread(
        Pki.ensure,
        Path(config.data_dir) / "pki",
        clock=clock,
        randomness=randomness,
        names=serving_names(config.cluster_domain, config.name_of_node, config.tls_names),
        addresses=serving_addresses(config.api_address, (node_ip,), config.tls_addresses),
        node_name=config.name_of_node,
    )
    plane = ControlPlane(
        store,
        clock=clock,
        randomness=randomness,
        signing_keys=pki.signing_keys,
        certificates=ClientCertificates(pki.trusted, clock),
        config=config,
        static_tokens=await asyncio.to_thread(_static_tokens, config),
    )
    auditor = await _auditor(config, running, clock, randomness)
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
            flow=flow,
            issuer=plane.tokens,
            auditor=auditor,
        ),
        ssl_context=pki.server_context(),
    )
    await api.serve(listener)
    running.push_async_callback(api.stop, 1.0)
    server = f"https://{_reachable(config.bind_address)}:{listener.getsockname()[1]}"
    _write_kubeconfig(config, pki.kubeconfig(server))
    running.push_async_callback(tasks.stop)
    tasks.supervise(pki.keep_fresh, name="renew certificates")
    expiry = EventExpiry(store, clock=clock, tasks=tasks)
    expiry.start()
    running.callback(expiry.stop)
    mirrors = plane.client(Caller("system:kube-controller-manager"), "kube-controller-manager")
    runtime = Runtime(
        CONTROLLERS,
        client_for=plane.controller_client,
        mirrors=mirrors,
        clock=clock,
        randomness=randomness,
        options=Options(
            cluster_cidrs=(ip_network(config.cluster_cidr),),
            cluster_ca=pki.ca_pem.decode(),
            resources=ServedResources(plane.resources),
            signer=CertificateSigner(pki, clock, randomness),
            read_request=read_request,
            token_issuer=plane.tokens,
        ),
    )
    await runtime.start()
    plane.probes["controller-manager"] = lambda: ""
    running.push_async_callback(runtime.stop)
    scheduling = plane.client(Caller("system:kube-scheduler"), "kube-scheduler")
    scheduler = Scheduler(client=scheduling, mirrors=scheduling, clock=clock, randomness=randomness)
    await scheduler.start()
    plane.probes["scheduler"] = lambda: ""
    running.push_async_callback(scheduler.stop)
    if not config.disable_agent:
        await _start_worker(config, running, plane, pki, node_ip)


async def _start_worker(
    config: Config, running: AsyncExitStack, plane: ControlPlane, pki: Pki, address: str
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


def _listener(config: Config) -> socket.socket:
    address = (config.bind_address, config.https_listen_port)
    family = socket.AF_INET6 if ":" in config.bind_address else socket.AF_INET
    try:
        return socket.create_server(address, family=family, backlog=1024)
    except OSError as error:
        raise CannotStart(
            f"cannot listen on {config.bind_address}:{config.https_listen_port}: {os.strerror(error.errno or 0)}"
        ) from error


def _require_network_rights() -> None:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    if not int(effective, 16) >> CAP_NET_ADMIN & 1:
        raise CannotStart(
            "cannot set up pod networking: needs root (CAP_NET_ADMIN); "
            "--disable-agent runs the control plane only"
        )


def _prepare_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"cannot use data folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotStart(f"cannot use data folder {folder}: it is not writable")


async def _open_store(
    config: Config, clock: SystemClock, randomness: SystemRandomness
) -> EmbeddedStore:
    def over(engine: Engine) -> Engine:
        # Once made, the keys stay in use: what they sealed must be readable, whatever the flag says now.
        if not (config.secrets_encryption or config.secrets_key_file.exists()):
            return engine
        return EncryptedEngine(
            engine, Transformer(ensure_keys(config.secrets_key_file, randomness))
        )

    try:
        return await EmbeddedStore.open(config.store_dir, clock=clock, over=over)
    except (StoreLocked, UnknownFormat, EncryptionFailed) as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(f"cannot open store in {config.store_dir}: {error.strerror}") from error


def _static_tokens(config: Config) -> StaticTokens | None:
    if not config.token_auth_file:
        return None
    try:
        return StaticTokens(Path(config.token_auth_file).read_text())
    except (OSError, UnicodeDecodeError, TokenFileInvalid) as error:
        raise CannotStart(f"cannot use {config.token_auth_file}: {error}") from error


async def _auditor(
    config: Config, running: AsyncExitStack, clock: SystemClock, randomness: SystemRandomness
) -> Auditor | None:
    if not config.audit_policy_file:
        return None
    bounds = Bounds(
        size_bytes=config.audit_log_maxsize * 1024 * 1024,
        age_days=config.audit_log_maxage,
        backups=config.audit_log_maxbackup,
    )
    lines = LineLog(config.audit_log_file, bounds, clock)
    try:
        text = await asyncio.to_thread(Path(config.audit_policy_file).read_text)
        policy = AuditPolicy.read(text)
        await asyncio.to_thread(lines.start)
    except (OSError, UnicodeDecodeError, PolicyInvalid) as error:
        raise CannotStart(f"cannot audit by {config.audit_policy_file}: {error}") from error
    running.push_async_callback(asyncio.to_thread, lines.stop)
    return Auditor(policy, lines, clock, randomness)


def _own_address() -> str:
    """Return the address this host would use towards others; loopback when it has no route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _reachable(address: str) -> str:
    if address in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address


def _write_kubeconfig(config: Config, text: str) -> None:
    path = Path(config.write_kubeconfig)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode(), mode=int(config.write_kubeconfig_mode, 8))
    except OSError as error:
        raise CannotStart(f"cannot write kubeconfig {path}: {error.strerror}") from error


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
