"""The command that removes what kubelite made on a host."""

import click

from kubelite.cli.common import data_dir_option, fail, load_config


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
def reset(yes: bool, **flags: str | None) -> None:
    """Remove all that kubelite made on this host: containers, network, files. All state is lost."""
    from kubelite import maintenance, uninstall

    config = load_config(flags)
    try:
        if not yes:
            for line in uninstall.plan_removal(config).describe():
                click.echo(f"  {line}")
            click.confirm("Remove all of this?", abort=True)
        uninstall.reset(config, click.echo)
    except maintenance.Refused as error:
        fail(error)
