"""The command line; each command imports what it runs, so that `kubelite version` is quick."""

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from kubelite import __version__
from kubelite.config import InvalidConfig, load, settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a whole Kubernetes cluster in one process."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"kubelite {__version__} (Kubernetes 1.36)")


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option per setting."""
    for field, (plain, setting) in reversed(settings().items()):
        command = click.option(
            "--" + field.replace("_", "-"),
            is_flag=plain is bool,
            default=None,
            type=plain if plain in (int, bool) else str,
            multiple=plain not in (str, int, bool),
            metavar=setting.metavar or None,
            help=setting.help,
        )(command)
    return command


@main.command()
@_options
def server(**flags: Any) -> None:
    """Run the server: API, store, scheduler, controllers, node, network."""
    try:
        config = load(flags, os.environ)
    except InvalidConfig as error:
        _fail(error)
    from kubelite.server import CannotStart, run

    try:
        run(config)
    except CannotStart as error:
        _fail(error)


@main.command()
def agent() -> None:
    """Join a cluster as a worker (comes with a later version)."""
    _fail("cannot join: joining workers comes with a later version")


def _fail(reason: object) -> NoReturn:
    click.echo(f"kubelite: {reason}", err=True)
    sys.exit(1)
