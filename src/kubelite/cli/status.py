"""The command that shows the state of a cluster at a glance."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from kubelite.cli.common import data_dir_option, first_file, json_option, load_config
from kubelite.terminal import in_line


@click.command()
@data_dir_option
@click.option(
    "--kubeconfig",
    metavar="FILE",
    help="Kubeconfig of another cluster (default: the one that the server of this host wrote)",
)
@json_option
def status(data_dir: str | None, kubeconfig: str | None, as_json: bool) -> None:
    """Show the state of the cluster at a glance: nodes, pods, components, certificates, disk, snapshots.

    Without a running server it shows what the files of this host say. The exit code is 1 unless the server answers and
    is healthy.
    """
    import msgspec

    from kubelite.clock import SystemClock
    from kubelite.overview import lines, overview
    from kubelite.randomness import SystemRandomness

    config = load_config({"data_dir": data_dir})
    path = Path(first_file(kubeconfig)) if kubeconfig else None
    with _silenced("kubelite.api.client"):  # the first line tells whether the server answers
        seen = overview(config, path, SystemClock(), SystemRandomness())
    if as_json:
        click.echo(
            msgspec.json.encode({"ready": seen.is_well, **msgspec.structs.asdict(seen)}).decode()
        )
    else:
        for line in lines(seen):
            click.echo(in_line(line))
    sys.exit(0 if seen.is_well else 1)


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Keep log lines of some modules from standard error, where Python writes warnings that nobody handles."""
    logger, handler = logging.getLogger(name), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
