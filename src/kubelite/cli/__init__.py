"""The command line; each command imports what it runs, so that `kubelite version` is quick.

Each module here holds the commands of one subject; `main` lists them.
"""

import os
import sys
from pathlib import Path

import click

from kubelite import __version__
from kubelite.cli.certificates import certificate, secrets_encrypt
from kubelite.cli.cluster import cluster
from kubelite.cli.common import data_dir_option
from kubelite.cli.completion import completion
from kubelite.cli.doctor import doctor
from kubelite.cli.install import install, uninstall
from kubelite.cli.kubeconfig import kubeconfig, kubectl
from kubelite.cli.removal import reset
from kubelite.cli.running import agent, server
from kubelite.cli.state import check, snapshot, tell_format
from kubelite.cli.status import status
from kubelite.cli.tokens import token


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a whole Kubernetes cluster in one process."""
    _open_standard_streams()


@main.command()
@click.option("--check-data", is_flag=True, help="Tell whether this version opens the data folder")
@data_dir_option
def version(data_dir: str | None, *, check_data: bool) -> None:
    """Print the version, and with --check-data the format of the data folder; exit with 1 if it cannot be opened."""
    click.echo(f"kubelite {__version__} (Kubernetes 1.36)")
    if check_data:
        tell_format(data_dir)


def _open_standard_streams() -> None:
    """Open /dev/null for each standard stream that is closed.

    Else the next file opened, such as the store's, gets descriptor 2, to which crash messages are written.
    """
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


for _command in (
    server,
    agent,
    snapshot,
    check,
    token,
    certificate,
    secrets_encrypt,
    reset,
    doctor,
    status,
    kubeconfig,
    kubectl,
    cluster,
    install,
    uninstall,
    completion,
):
    main.add_command(_command)
