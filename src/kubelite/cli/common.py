"""What the commands share: options that mean the same everywhere, and how a refusal ends a command."""

import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from kubelite.config import (
    Config,
    InvalidConfig,
    NodeConfig,
    help_of,
    is_list,
    load,
    settings,
)
from kubelite.node_config import CONFIG_FILE
from kubelite.progress import Progress, shown
from kubelite.terminal import in_line

data_dir_option = click.option("--data-dir", metavar="DIR", help="Folder that holds all state")
kubeconfig_option = click.option(
    "--kubeconfig",
    metavar="FILE",
    envvar="KUBECONFIG",
    help="Kubeconfig of an administrator (default: KUBECONFIG, else the one that the server wrote)",
)


json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON for programs")


def load_config(flags: dict[str, Any], file: Path = CONFIG_FILE) -> Config:
    """Return the configuration of a server from flags, environment and files; a wrong one ends the command."""
    try:
        return load(flags, os.environ, file)
    except InvalidConfig as error:
        fail(error)


def fail(reason: object) -> NoReturn:
    """End the command with exit code 1, and say why."""
    click.echo(f"kubelite: {in_line(str(reason))}", err=True)
    sys.exit(1)


@contextmanager
def reporting(as_json: bool, *failures: type[Exception]) -> Iterator[Progress]:
    """Show the progress of a command; one of `failures` ends it with exit code 1, and is told."""
    with shown(as_events=as_json) as progress:
        try:
            yield progress
        except failures as error:
            progress.failure(error)
            progress.close()
            fail(error)


def first_file(paths: str) -> str:
    """Return the first file of a list as in KUBECONFIG that exists, else the first one; "" if the list is empty."""
    listed = [path for path in paths.split(os.pathsep) if path]
    return next((path for path in listed if Path(path).exists()), listed[0] if listed else "")


def setting_options(
    of: type[NodeConfig], only: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds an option for each setting, or for `only` some, to a command.

    Loading validates all sources together.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        for field, (plain, setting) in reversed(list(settings(of).items())):
            if only and field not in only:
                continue
            command = click.option(
                "--" + field.replace("_", "-"),
                is_flag=plain is bool,
                default=None,
                type=bool if plain is bool else str,
                multiple=is_list(plain),
                metavar=setting.metavar or None,
                help=help_of(field, of),
            )(command)
        return command

    return decorated
