"""What the commands share: options that mean the same everywhere, and how a refusal ends a command."""

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from kubelite.config import CONFIG_FILE, Config, InvalidConfig, load

data_dir_option = click.option("--data-dir", metavar="DIR", help="Folder that holds all state")
kubeconfig_option = click.option(
    "--kubeconfig",
    metavar="FILE",
    envvar="KUBECONFIG",
    help="Kubeconfig of an administrator (default: KUBECONFIG, else the one that the server wrote)",
)


def load_config(flags: dict[str, Any], file: Path = CONFIG_FILE) -> Config:
    """Return the configuration of a server from flags, environment and files; a wrong one ends the command."""
    try:
        return load(flags, os.environ, file)
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
