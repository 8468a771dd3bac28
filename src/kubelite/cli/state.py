"""The commands for the stored state: snapshots of it, and whether it is whole."""

import sys
from pathlib import Path

import click

from kubelite.cli.common import data_dir_option, fail, load_config


@click.group()
def snapshot() -> None:
    """Save the cluster's state, list what is saved, put it back."""


@snapshot.command("save")
@data_dir_option
def snapshot_save(data_dir: str | None) -> None:
    """Save the state, also while the server runs."""
    from kubelite.clock import SystemClock
    from kubelite.store import snapshots

    config = load_config({"data_dir": data_dir})
    try:
        saved = snapshots.save(config.store_dir, config.snapshots_dir, SystemClock().now())
    except snapshots.SnapshotFailed as error:
        fail(error)
    click.echo(saved.path)


@snapshot.command("list")
@data_dir_option
def snapshot_list(data_dir: str | None) -> None:
    """List the snapshots, oldest first."""
    from kubelite.store import snapshots

    for saved in snapshots.list_snapshots(load_config({"data_dir": data_dir}).snapshots_dir):
        click.echo(f"{saved.name}  {saved.size_bytes / 1e6:.1f} MB")


@snapshot.command("restore")
@click.argument("name")
@data_dir_option
def snapshot_restore(name: str, data_dir: str | None) -> None:
    """Put the snapshot NAME (as listed, or a file) in place of the state; the server must be stopped."""
    from kubelite.store import snapshots
    from kubelite.store.lmdb_engine import StoreLocked

    config = load_config({"data_dir": data_dir})
    source = Path(name) if "/" in name else config.snapshots_dir / name
    try:
        former = snapshots.restore(source, config.store_dir)
    except (snapshots.SnapshotFailed, StoreLocked) as error:
        fail(error)
    click.echo(f"restored {source}" + (f"; the former state is {former}" if former else ""))


@click.command()
@data_dir_option
def check(data_dir: str | None) -> None:
    """Verify that the stored state is whole, also while the server runs."""
    from kubelite.store import snapshots

    try:
        report = snapshots.check(load_config({"data_dir": data_dir}).store_dir)
    except snapshots.SnapshotFailed as error:
        fail(error)
    for problem in report.problems:
        click.echo(problem)
    click.echo(
        f"{report.objects} objects, {report.log_rows} changes kept, revision {report.revision}, "
        f"{len(report.problems)} problems"
    )
    sys.exit(1 if report.problems else 0)


def tell_format(data_dir: str | None) -> None:
    """Print the format of a data folder; end the command with exit code 1 if this version cannot open it."""
    from kubelite.store import snapshots
    from kubelite.store.lmdb_engine import format_problem

    folder = load_config({"data_dir": data_dir}).store_dir
    try:
        found = snapshots.read_format(folder)
    except snapshots.SnapshotFailed as error:
        fail(error)
    if found is None:
        click.echo(f"{folder}: there is no store")
    elif problem := format_problem(found):
        fail(f"cannot open store in {folder}: {problem}")
    else:
        click.echo(f"{folder}: format {found.decode()}, which this version opens")
