"""The commands for the access of kubectl: the kubeconfig printed or merged into another, and kubectl itself."""

import os
import shutil
from pathlib import Path

import click

from kubelite.cli.common import fail, first_file, load_config

NO_KUBECTL = (
    "cannot run kubectl: it is not on the PATH, and kubelite has none built in; "
    "https://kubernetes.io/docs/tasks/tools/ says how to get one"
)
_server_option = click.option(
    "--server", metavar="URL", help="URL of the server, for use on another machine"
)
_from_option = click.option(
    "--kubeconfig",
    metavar="FILE",
    help="Kubeconfig to take (default: the one that the server wrote)",
)


@click.group(invoke_without_command=True)
@_server_option
@_from_option
@click.pass_context
def kubeconfig(context: click.Context, server: str | None, kubeconfig: str | None) -> None:
    """Print the administrator's kubeconfig. Who has it may do everything in the cluster."""
    if context.invoked_subcommand is not None:
        if server or kubeconfig:
            fail("cannot use --server and --kubeconfig here: give them after merge")
        return
    from kubelite.kubeconfigs import text_of

    click.echo(text_of(_own(kubeconfig, server)), nl=False)


@kubeconfig.command()
@click.option("--name", default="kubelite", show_default=True, help="Name of the context")
@click.option(
    "--file",
    "path",
    metavar="FILE",
    help="Kubeconfig to merge into (default: the first of KUBECONFIG, else ~/.kube/config)",
)
@click.option("--switch-context", is_flag=True, help="Make it the current context")
@click.option("--overwrite", is_flag=True, help="Replace another cluster of that name")
@_server_option
@_from_option
def merge(
    name: str,
    path: str | None,
    switch_context: bool,
    overwrite: bool,
    server: str | None,
    kubeconfig: str | None,
) -> None:
    """Merge the administrator's kubeconfig into yours; all else in it stays, and a backup is kept."""
    from kubelite.kubeconfigs import NotMerged, merge_into

    own = _own(kubeconfig, server)
    target = Path(
        path or first_file(os.environ.get("KUBECONFIG", "")) or Path.home() / ".kube" / "config"
    )
    try:
        written = merge_into(target, own, name, overwrite=overwrite, switch=switch_context)
    except NotMerged as error:
        fail(error)
    click.echo(f"merged into {written}; try: kubectl --context {name} get nodes")


def _own(path: str | None, server: str | None) -> dict[str, object]:
    """Return the kubeconfig that the server wrote, or the one at a path; without one the command ends."""
    from kubelite.kubeconfigs import NotMerged, read, with_server

    source = Path(path) if path else _written()
    if server is not None and not server.startswith("https://"):
        fail(f"cannot use --server {server}: must be a URL such as https://192.0.2.1:6443")
    try:
        own = read(source)
    except NotMerged as error:
        fail(error)
    return with_server(own, server) if server else own


def _written() -> Path:
    """Return the kubeconfig that the server wrote; without one, or without the right to read it, the command ends."""
    path = Path(load_config({}).write_kubeconfig)
    try:
        with path.open("rb"):
            return path
    except FileNotFoundError:
        fail(
            f"cannot find {path}: a server writes it when it starts; start one, or see --write-kubeconfig"
        )
    except OSError as error:
        fail(
            f"cannot read {path}: {error.strerror}; run as root, or start the server with "
            "--write-kubeconfig-group"
        )


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": [],
    }
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(arguments: tuple[str, ...]) -> None:
    """Run the kubectl of this machine with the administrator's kubeconfig. kubelite has none built in."""
    from kubelite.spawn import become

    program = shutil.which("kubectl")
    if program is None:
        fail(NO_KUBECTL)
    become([program, *arguments], {"KUBECONFIG": str(_written())})
