"""The composition root of a joining node: all parts, in the order in which they start.

Parts stop in reverse order; containers, links and rules stay, so pods run on while the agent is stopped.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import uvloop

from kubelite import collector
from kubelite import log as log_lines
from kubelite.api.client.availability import Availability
from kubelite.api.client.remote import RemoteClient
from kubelite.clock import SystemClock
from kubelite.config import AgentConfig
from kubelite.doctor import start as examination
from kubelite.joining.bootstrap import Bootstrap, Membership
from kubelite.joining.credentials import Credentials
from kubelite.joining.files import CLIENT, NETWORK, AgentFiles, AlreadyRuns, Leaf
from kubelite.joining.renewal import Renewal
from kubelite.net.host_addresses import HostAddresses
from kubelite.node.tunnel import Targets, Tunnel
from kubelite.offload import WorkerThread
from kubelite.prerequisites import (
    CannotStart,
    allow_many_files,
    host_addresses,
    prepare_folder,
    reason_of,
    require_network_rights,
    require_node_name,
)
from kubelite.randomness import SystemRandomness
from kubelite.running import until_stopped
from kubelite.tasks import TaskSet
from kubelite.worker import Identities, Worker, node_failures

log = logging.getLogger(__name__)


def run(config: AgentConfig) -> None:
    """Run an agent until SIGTERM or SIGINT; raises CannotStart or ServerFailed."""
    started = time.monotonic()
    log_lines.setup(debug=config.debug, form=config.log_format)
    collector.pause()
    collector.share_one_heap()
    allow_many_files()
    joined: list[Membership] = []
    uvloop.run(
        until_stopped(
            partial(_start, config, joined.append),
            lambda: _greet(config, joined[0], time.monotonic() - started),
        )
    )


async def _start(
    config: AgentConfig,
    report: Callable[[Membership], None],
    running: AsyncExitStack,
    _: Callable[[str], None],
) -> None:
    clock, randomness, tasks = SystemClock(), SystemRandomness(), TaskSet()
    require_node_name(config)
    require_network_rights()
    files = AgentFiles(config.agent_dir)
    running.callback(os.close, _hold(files, config))
    bootstrap = Bootstrap(config, files, clock, randomness)
    membership = await bootstrap.join()
    credentials = await asyncio.to_thread(Credentials, files)

    availability = Availability(membership.server, randomness)

    def client(leaf: Leaf, name: str) -> RemoteClient:
        made = RemoteClient(
            membership.server,
            ssl_context=credentials.fresh(leaf),
            randomness=randomness,
            field_manager=name,
            availability=availability,
        )
        credentials.keep(made, leaf)
        running.push_async_callback(made.close)
        return made

    node, network = client(CLIENT, "kubelet"), client(NETWORK, "kube-proxy")
    host = host_addresses(config, membership.cluster.settings)
    running.callback(host.close)
    await host.start()
    offload = WorkerThread()
    running.callback(offload.close)
    worker = Worker(
        config,
        membership.cluster.settings,
        Identities(node, network),
        addresses=host.view.node_addresses,
        tls=credentials.serving,
        clock=clock,
        randomness=randomness,
        offload=offload,
    )
    running.push_async_callback(worker.stop)
    with node_failures(config):
        await worker.start()
    renewal = Renewal(
        credentials,
        files,
        node,
        node_name=config.name_of_node,
        server=membership.server,
        clock=clock,
        randomness=randomness,
        by_token=bootstrap.new_client_certificate,
    )
    targets = Targets(
        worker.kubelet_port,
        pods=lambda: worker.pod_addresses,
        own=lambda: (worker.address,),
        kubelet_host=_local(config.kubelet_address),
    )

    def reconnect() -> None:
        for each in (node, network):
            each.transport.reconnect()

    def answered() -> None:
        for each in (node, network):
            each.transport.availability.answered()

    tunnel = Tunnel(
        [membership.server],
        targets,
        ssl_context=credentials.node,
        randomness=randomness,
        # The server is back, though the clients would not try it for some seconds yet.
        opened=answered,
        # It asks the server for a sign of life, which a watch cannot: what ends it has ended the watches as well.
        lost=reconnect,
    )
    running.push_async_callback(tasks.stop)
    tasks.supervise(tunnel.run, name="tunnel")
    tasks.supervise(renewal.run, name="renew certificates")
    tasks.supervise(host.run, name="watch host addresses")
    tasks.supervise(lambda: _follow_addresses(host, worker, tunnel), name="follow host addresses")
    tasks.start(examination.warn(config), name="examine the host")
    report(membership)


def _local(address: str) -> str:
    """Return the address at which this host reaches a listener on `address`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - not bound to


def _hold(files: AgentFiles, config: AgentConfig) -> int:
    """Create the folders and return a descriptor that keeps other agents from them. Raises CannotStart."""
    prepare_folder(Path(config.data_dir))
    if config.store_dir.exists():
        raise CannotStart(
            f"cannot use data folder {config.data_dir}: a server's cluster is in it; see --data-dir"
        )
    try:
        files.prepare()
        return files.lock()
    except AlreadyRuns as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(
            f"cannot use {files.folder}: {reason_of(error)}; see --data-dir"
        ) from error


async def _follow_addresses(host: HostAddresses, worker: Worker, tunnel: Tunnel) -> None:
    """Move the node on each change of the host's addresses; for ever."""
    former: frozenset[str] = frozenset()
    async for view in host.changes():
        worker.move(view.node_addresses)
        if not former <= (former := frozenset(view.addresses)):
            tunnel.reconnect()  # nothing tells the kernel's connections that their address is gone


def _greet(config: AgentConfig, membership: Membership, seconds: float) -> None:
    what = f"joined {membership.server}"
    if not membership.is_reached:
        what = f"started, and waits for {membership.server},"
    if config.log_format == log_lines.JSON:
        ready = {"node": config.name_of_node, "server": membership.server}
        log.info("kubelite agent is ready", extra={**ready, "joined": membership.is_reached})
        return
    with suppress(OSError):  # stderr may be closed
        sys.stderr.write(f"kubelite agent {what} as {config.name_of_node} after {seconds:.1f} s\n")
        sys.stderr.flush()
