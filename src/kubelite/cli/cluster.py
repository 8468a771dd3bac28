"""The commands for ephemeral clusters."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubelite.cli.common import fail

if TYPE_CHECKING:
    from kubelite.clusters.lifecycle import Clusters

ROOTS_FOLDER = "/var/lib/kubelite-clusters"


def _default_folder() -> str:
    return ROOTS_FOLDER if os.geteuid() == 0 else str(Path.home() / ".kubelite-clusters")


@click.group()
@click.option(
    "--clusters-dir",
    metavar="DIR",
    help="Folder of all clusters (default: /var/lib/kubelite-clusters, without root ~/.kubelite-clusters)",
)
@click.pass_context
def cluster(context: click.Context, clusters_dir: str | None) -> None:
    """Make clusters for tests on this machine, several at once, and delete them without a trace."""
    context.obj = clusters_dir


name_argument = click.argument("name")
wait_option = click.option(
    "--wait", metavar="DURATION", help="Wait so long for Ready nodes; 0: do not [default: 60s]"
)


@contextmanager
def _clusters(context: click.Context) -> "Iterator[Clusters]":
    """Give the clusters of the folder; a refusal ends the command."""
    from kubelite.api.client.kubeconfig import KubeconfigInvalid
    from kubelite.clusters.lifecycle import ClusterFailed, Clusters
    from kubelite.clusters.plan import PlanFailed
    from kubelite.clusters.state import Folders

    say: Callable[[str], None] = lambda text: click.echo(f"  {text}", err=True)  # noqa: E731 - a function of one line
    try:
        top = Path(os.path.abspath(context.obj or _default_folder()))  # noqa: PTH100 - `resolve` follows links
        yield Clusters(Folders(top), say)
    except (ClusterFailed, PlanFailed, KubeconfigInvalid) as error:
        fail(error)
    except OSError as error:
        fail(f"{error.filename or 'the system'}: {error.strerror or error}")


@cluster.command()
@name_argument
@click.option("--agents", metavar="COUNT", type=int, help="Real nodes beside the one of the server")
@click.option(
    "--simulate-nodes",
    metavar="COUNT",
    type=int,
    help="Simulated nodes; without --agents there is no real one, and root is not needed",
)
@click.option(
    "--simulation-file", metavar="FILE", help="What simulated nodes and their pods are like"
)
@click.option(
    "--registry-config",
    metavar="FILE",
    help="Registries of all nodes (default: host.kubelite.internal:5000 is the machine's port 5000)",
)
@click.option(
    "--image", "images", metavar="FILE", multiple=True, help="Image archive for all nodes"
)
@click.option(
    "--port",
    "ports",
    metavar="[IP:]HOST:CONTAINER@ingress|@NODE",
    multiple=True,
    help="Port of this machine that leads to the ingress, or to a port of a node",
)
@wait_option
@click.option("--config", metavar="FILE", help="File with the same, and further settings")
@click.pass_context
def create(  # noqa: PLR0913, PLR0917 - one for each option
    context: click.Context,
    name: str,
    agents: int | None,
    simulate_nodes: int | None,
    simulation_file: str | None,
    registry_config: str | None,
    images: tuple[str, ...],
    ports: tuple[str, ...],
    wait: str | None,
    config: str | None,
) -> None:
    """Make the cluster NAME and start it."""
    from kubelite.clusters.plan import Wanted
    from kubelite.clusters.settings import ClusterFile, read_cluster_file, seconds_of

    with _clusters(context) as clusters:
        file = read_cluster_file(Path(config)) if config else ClusterFile()
        wanted = Wanted(
            name,
            file.agents if agents is None else agents,
            file.simulate_nodes if simulate_nodes is None else simulate_nodes,
            file.simulation_file if simulation_file is None else simulation_file,
            file.registry_config if registry_config is None else registry_config,
            (*file.images, *images),
            (*file.ports, *ports),
            seconds_of(wait or file.wait or "60s"),
            file.server,
            file.agent,
        )
        plan = clusters.create(wanted)
        click.echo(
            f"cluster {name} is ready; try\n"
            f"    export KUBECONFIG={clusters.kubeconfig(name)}\n"
            "    kubectl get nodes"
        )
        for port in plan.ports:
            click.echo(
                f"port {port.host_ip}:{port.host_port} leads to port {port.port} of {port.node}"
            )


@cluster.command("list")
@click.pass_context
def list_clusters(context: click.Context) -> None:
    """List the clusters."""
    with _clusters(context) as clusters:
        rows = [("NAME", "STATUS", "NODES", "API", "PORTS")]
        for seen in clusters.list():
            plan = seen.plan
            nodes = f"{len(plan.nodes)}" + (
                f"+{plan.simulate_nodes} simulated" if plan.simulates or plan.simulate_nodes else ""
            )
            rows.append(
                (plan.name, seen.status, nodes, plan.url, " ".join(map(str, plan.ports)) or "-")
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo("   ".join(cells).rstrip())


@cluster.command()
@name_argument
@click.pass_context
def kubeconfig(context: click.Context, name: str) -> None:
    """Print the kubeconfig of the cluster NAME; its context is kubelite-NAME."""
    with _clusters(context) as clusters:
        click.echo(clusters.kubeconfig(name).read_text(), nl=False)


@cluster.command("load-image")
@name_argument
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.pass_context
def load_image(context: click.Context, name: str, files: tuple[str, ...]) -> None:
    """Load image archives on all real nodes of the cluster NAME."""
    from kubelite.clusters.lifecycle import images_loaded

    with _clusters(context) as clusters:
        for node in images_loaded(*clusters.plan(name), files):
            click.echo(f"loaded on {node}")


@cluster.command()
@name_argument
@click.pass_context
def stop(context: click.Context, name: str) -> None:
    """Stop the cluster NAME; its state, images and volumes stay."""
    with _clusters(context) as clusters:
        clusters.stop(name)
        click.echo(f"cluster {name} is stopped")


@cluster.command()
@name_argument
@wait_option
@click.pass_context
def start(context: click.Context, name: str, wait: str | None) -> None:
    """Start the cluster NAME again."""
    from kubelite.clusters.settings import seconds_of

    with _clusters(context) as clusters:
        clusters.start(name, seconds_of(wait or "60s"))
        click.echo(f"cluster {name} runs")


@cluster.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.pass_context
def delete(context: click.Context, names: tuple[str, ...]) -> None:
    """Delete clusters with all that they have."""
    with _clusters(context) as clusters:
        for name in names:
            clusters.delete(name)
            click.echo(f"cluster {name} is deleted")


@cluster.command()
@name_argument
@click.option("--node", metavar="NODE", help="Of this node alone: server, agent-0 …")
@click.pass_context
def logs(context: click.Context, name: str, node: str | None) -> None:
    """Print what the server and the agents of the cluster NAME have logged."""
    with _clusters(context) as clusters:
        folder, plan = clusters.plan(name)
        shorts = [one.short for one in plan.nodes] or ["server"]
        if node:
            shorts = [plan.node(node).short] if plan.nodes else shorts
        for short in shorts:
            if len(shorts) > 1:
                click.echo(f"==> {short} <==")
            with folder.log(short).open("rb") as file:
                while piece := file.read(1 << 16):
                    sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
