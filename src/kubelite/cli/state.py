"""The commands for the stored state: snapshots of it, and whether it is whole."""

import sys
from pathlib import Path

import click
import msgspec

from kubelite.cli.common import data_dir_option, json_option, load_config, reporting
from kubelite.terminal import in_line


@click.group()
def snapshot() -> None:
    """Save the cluster's state, list what is saved, put it back."""


@snapshot.command("save")
@data_dir_option
@json_option
def snapshot_save(data_dir: str | None, as_json: bool) -> None:
    """Save the state, also while the server runs."""
    from kubelite.clock import SystemClock
    from kubelite.store import snapshots

    config = load_config({"data_dir": data_dir})
    with reporting(as_json, snapshots.SnapshotFailed) as progress:
        now = SystemClock().now()
        saved = snapshots.save(config.store_dir, config.snapshots_dir, now, progress)
        progress.result(path=str(saved.path), size_bytes=saved.size_bytes)
    if not as_json:
        click.echo(saved.path)


@snapshot.command("list")
@data_dir_option
@json_option
def snapshot_list(data_dir: str | None, as_json: bool) -> None:
    """List the snapshots, oldest first."""
    from kubelite.store import snapshots

    found = snapshots.list_snapshots(load_config({"data_dir": data_dir}).snapshots_dir)
    if as_json:
        click.echo(msgspec.json.encode(found, enc_hook=str))
        return
    for saved in found:
        click.echo(f"{saved.name}  {saved.size_bytes / 1e6:.1f} MB")


@snapshot.command("restore")
@click.argument("name")
@data_dir_option
@json_option
def snapshot_restore(name: str, data_dir: str | None, as_json: bool) -> None:
    """Put the snapshot NAME (as listed, or a file) in place of the state; the server must be stopped."""
    from kubelite.store import snapshots
    from kubelite.store.lmdb_engine import StoreLocked

    config = load_config({"data_dir": data_dir})
    source = Path(name) if "/" in name else config.snapshots_dir / name
    with reporting(as_json, snapshots.SnapshotFailed, StoreLocked) as progress:
        former = snapshots.restore(source, config.store_dir, progress)
        progress.result(restored=str(source), former=str(former) if former else None)
    if not as_json:
        click.echo(f"restored {source}" + (f"; the former state is {former}" if former else ""))


@click.command()
@data_dir_option
@json_option
def check(data_dir: str | None, as_json: bool) -> None:
    """Verify that the stored state is whole, also while the server runs."""
    from kubelite.store import snapshots

    with reporting(as_json, snapshots.SnapshotFailed) as progress:
        report = snapshots.check(load_config({"data_dir": data_dir}).store_dir, progress)
        progress.result(**msgspec.structs.asdict(report))
    if not as_json:
        for problem in report.problems:
            click.echo(in_line(problem))
        click.echo(
            f"{report.objects} objects, {report.log_rows} changes kept, revision {report.revision}, "
            f"{len(report.problems)} problems"
        )
    sys.exit(1 if report.problems else 0)
