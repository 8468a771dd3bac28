"""What the commands share: options that mean the same everywhere, and how a refusal ends a command."""

import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NoReturn

import click

from kubelite.config import Config, InvalidConfig, NodeConfig, help_of, is_list, load, settings

data_dir_option = click.option("--data-dir", metavar="DIR", help="Folder that holds all state")
kubeconfig_option = click.option(
    "--kubeconfig",
    metavar="FILE",
    envvar="KUBECONFIG",
    help="Kubeconfig of an administrator (default: KUBECONFIG, else the one that the server wrote)",
)


def load_config(flags: dict[str, Any]) -> Config:
    """Return the configuration of a server from flags, environment and files; a wrong one ends the command."""
    try:
        return load(flags, os.environ)
    except InvalidConfig as error:
        fail(error)


def fail(reason: object) -> NoReturn:
    """End the command with exit code 1, and say why."""
    click.echo(f"kubelite: {reason}", err=True)
    sys.exit(1)


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
