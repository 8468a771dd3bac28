"""The commands for the stored state: snapshots of it, and whether it is whole."""

import sys
from pathlib import Path

import click

from kubelite.cli.common import data_dir_option, fail, load_config
from kubelite.cli.completion import snapshots as snapshot_names


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
@click.argument("name", shell_complete=snapshot_names)
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
