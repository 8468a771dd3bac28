"""The commands for the stored state: snapshots of it, and whether it is whole."""

import sys
from typing import Any

import click
import msgspec

from kubelite import __version__
from kubelite.cli.common import (
    data_dir_option,
    fail,
    json_option,
    load_config,
    reporting,
    setting_options,
)
from kubelite.cli.completion import snapshots as snapshot_names
from kubelite.config import Config
from kubelite.snapshot_config import SnapshotConfig
from kubelite.terminal import STDERR, in_line

_SNAPSHOT_FIELDS = ("data_dir", "node_name", *SnapshotConfig.__annotations__)
_settings = setting_options(Config, _SNAPSHOT_FIELDS)
_bucket_option = click.option(
    "--s3", "in_bucket", is_flag=True, help="Also in the bucket of --snapshot-s3-bucket"
)


@click.group()
def snapshot() -> None:
    """Save the cluster's state, list what is saved, put it back."""


@snapshot.command("save")
@click.option("--scheduled", is_flag=True, hidden=True)
@_settings
@json_option
def snapshot_save(*, scheduled: bool, as_json: bool, **flags: Any) -> None:
    """Save the state, also while the server runs; with a bucket configured, put it there as well."""
    from kubelite.backup import actions
    from kubelite.clock import SystemClock

    config, clock = load_config(flags), SystemClock()

    def say(line: object) -> None:
        if not as_json:
            with STDERR.above():
                click.echo(line)

    with reporting(as_json, actions.Refused) as progress:
        taken = actions.take(config, clock, __version__, is_scheduled=scheduled, progress=progress)
        say(taken)
        if scheduled:
            actions.prune(config, clock, in_bucket=False)
        uploaded: list[str] = []
        if config.snapshot_s3_bucket:
            with progress.step(f"put snapshots into the bucket {config.snapshot_s3_bucket}"):
                uploaded += actions.put_into_bucket(config, clock)
            for name in uploaded:
                say(f"s3://{config.snapshot_s3_bucket}: {name}")
            if scheduled:
                actions.prune(config, clock, in_bucket=True)
        progress.result(path=str(taken), size_bytes=taken.stat().st_size, uploaded=uploaded)


@snapshot.command("list")
@_bucket_option
@_settings
@json_option
def snapshot_list(*, in_bucket: bool, as_json: bool, **flags: Any) -> None:
    """List the snapshots, oldest first."""
    from kubelite.backup import actions
    from kubelite.clock import SystemClock

    config = load_config(flags)
    try:
        found = actions.listed(config, SystemClock(), in_bucket=in_bucket)
    except actions.Refused as error:
        fail(error)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for kept in found:
        where = "".join(
            f"  {place}"
            for place, is_there in (("here", kept.is_here), ("bucket", kept.is_in_bucket))
            if in_bucket and is_there
        )
        click.echo(f"{kept.name}  {kept.size_bytes / 1e6:.1f} MB{where}")


@snapshot.command("delete")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_bucket_option
@_settings
def snapshot_delete(*, names: tuple[str, ...], in_bucket: bool, **flags: Any) -> None:
    """Delete snapshots by their names."""
    from kubelite.backup import actions
    from kubelite.clock import SystemClock

    config = load_config(flags)
    try:
        for name in names:
            actions.delete(config, SystemClock(), name, in_bucket=in_bucket)
            click.echo(f"snapshot {name} deleted")
    except actions.Refused as error:
        fail(error)


@snapshot.command("prune")
@_bucket_option
@_settings
def snapshot_prune(*, in_bucket: bool, **flags: Any) -> None:
    """Delete the scheduled snapshots of this server beyond --snapshot-retention."""
    from kubelite.backup import actions
    from kubelite.clock import SystemClock

    try:
        for name in actions.prune(load_config(flags), SystemClock(), in_bucket=in_bucket):
            click.echo(f"snapshot {name} deleted")
    except actions.Refused as error:
        fail(error)


@snapshot.command("restore")
@click.argument("name", shell_complete=snapshot_names)
@click.option("--s3", "from_bucket", is_flag=True, help="Take it from the bucket")
@_settings
@json_option
def snapshot_restore(*, name: str, from_bucket: bool, as_json: bool, **flags: Any) -> None:
    """Put the snapshot NAME (as listed, or a file) in place of the state; the server must be stopped."""
    from kubelite.backup import actions
    from kubelite.clock import SystemClock

    config, clock = load_config(flags), SystemClock()
    with reporting(as_json, actions.Refused) as progress:
        done = actions.restore(config, clock, name, from_bucket=from_bucket, progress=progress)
        progress.result(
            restored=done.source,
            former=str(done.former) if done.former else None,
            placed_keys=done.placed_keys,
        )
    if as_json:
        return
    click.echo(
        f"restored {done.source}" + (f"; the former state is {done.former}" if done.former else "")
    )
    if done.placed_keys:
        click.echo(
            "This machine has the cluster's keys now: start the server, with the settings it had. "
            "Agents find it with kubelite agent --join https://NEW-ADDRESS:6443; they need no token."
        )


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
        fail(f"cannot open store in {folder}: {problem}; another folder is named by --data-dir")
    else:
        click.echo(f"{folder}: format {found.decode()}, which this version opens")
