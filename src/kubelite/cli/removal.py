"""The command that removes what kubelite made on a host."""

import click

from kubelite.cli.common import data_dir_option, fail, json_option, load_config, reporting
from kubelite.terminal import STDERR


@click.command()
@data_dir_option
@click.option(
    "--container-runtime-endpoint",
    metavar="unix:///FILE",
    help="Socket of the engine, if the server had one",
)
@click.option("--docker-socket", metavar="FILE", help="The same for an engine with Docker's API")
@click.option("--node-name", metavar="NAME", help="Name of this node, if the server had one")
@click.option(
    "--container-log-dir", metavar="DIR", help="Folder of log links, if the server had one"
)
@click.option("--write-kubeconfig", metavar="FILE", help="The kubeconfig that the server wrote")
@click.option("--yes", is_flag=True, help="Do not ask")
@json_option
def reset(yes: bool, as_json: bool, **flags: str | None) -> None:
    """Remove all that kubelite made on this host: containers, network, files. All state is lost."""
    from kubelite import maintenance, uninstall

    config = load_config(flags)
    if as_json and not yes:
        fail("cannot ask a program: give --yes with --json")
    said: list[str] = []
    with reporting(as_json, maintenance.Refused) as progress:
        if not yes:
            for line in uninstall.plan_removal(config).describe():
                click.echo(f"  {line}")
            click.confirm("Remove all of this?", abort=True)

        def say(line: str) -> None:
            said.append(line)
            if not as_json:
                with STDERR.above():
                    click.echo(line)

        uninstall.reset(config, say, progress)
        progress.result(said=said)
