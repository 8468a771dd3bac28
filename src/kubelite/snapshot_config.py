"""The settings of snapshots: where, when, how many, sealed with what, and the bucket they go to."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from kubelite.node_config import NodeConfig
from kubelite.settings import Setting, unusable

RETENTION_MAX = 10_000
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9-]{1,64}")


class SnapshotConfig(NodeConfig, frozen=True, kw_only=True):
    """A part of the configuration of a server."""

    snapshot_dir: Annotated[
        str, Setting("Folder of snapshots (default: snapshots in the data folder)", "DIR")
    ] = ""
    snapshot_schedule_cron: Annotated[
        str, Setting("When a snapshot is taken, in UTC, as in 0 */12 * * * or @every 6h", "CRON")
    ] = ""
    snapshot_retention: Annotated[
        int, Setting("Number of scheduled snapshots that are kept", "COUNT")
    ] = 5
    snapshot_passphrase_file: Annotated[
        str,
        Setting(
            "File of a passphrase with which snapshots are sealed; they then hold the cluster's keys as well, "
            "and can be restored on another machine",
            "FILE",
        ),
    ] = ""
    snapshot_s3_bucket: Annotated[
        str, Setting("Bucket with S3's API into which sealed snapshots are put as well", "NAME")
    ] = ""
    snapshot_s3_endpoint: Annotated[str, Setting("Where that bucket is", "URL", is_filled=True)] = (
        "https://s3.amazonaws.com"
    )
    snapshot_s3_region: Annotated[str, Setting("Region of the bucket", "NAME")] = "us-east-1"
    snapshot_s3_folder: Annotated[str, Setting("Folder in the bucket", "PATH")] = ""
    snapshot_s3_credentials_file: Annotated[
        str,
        Setting(
            "File with aws_access_key_id and aws_secret_access_key, as AWS's programs have it "
            "(default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
            "FILE",
        ),
    ] = ""
    snapshot_s3_endpoint_ca: Annotated[
        str, Setting("Authorities of the bucket's server (default: the system's)", "FILE")
    ] = ""

    @property
    def snapshots_dir(self) -> Path:
        """The folder of the snapshots."""
        return Path(self.snapshot_dir) if self.snapshot_dir else Path(self.data_dir) / "snapshots"


def check_snapshots(config: SnapshotConfig) -> None:
    """Check the settings of snapshots. Raises InvalidConfig."""
    if not 1 <= config.snapshot_retention <= RETENTION_MAX:
        reason = f"must be 1 to {RETENTION_MAX}"
        raise unusable("snapshot_retention", config.snapshot_retention, reason)
    if config.snapshot_schedule_cron:
        # A server without a schedule does without the parser.
        from kubelite.api.machinery.cron import InvalidCron, parse_cron

        try:
            parse_cron(config.snapshot_schedule_cron)
        except InvalidCron as error:
            raise unusable(
                "snapshot_schedule_cron", config.snapshot_schedule_cron, str(error)
            ) from None
    if config.snapshot_s3_bucket:
        _check_bucket(config)


def _check_bucket(config: SnapshotConfig) -> None:
    name, folder = config.snapshot_s3_bucket, config.snapshot_s3_folder
    if not _BUCKET.fullmatch(name):
        raise unusable("snapshot_s3_bucket", name, "must be the name of a bucket")
    if not config.snapshot_passphrase_file:
        raise unusable(
            "snapshot_s3_bucket",
            name,
            "snapshots hold Secrets, so one that leaves this machine must be sealed; "
            "give --snapshot-passphrase-file",
        )
    if not _is_endpoint(config.snapshot_s3_endpoint):
        reason = "must be https://HOST or http://HOST, with a port if need be"
        raise unusable("snapshot_s3_endpoint", config.snapshot_s3_endpoint, reason)
    if not _REGION.fullmatch(config.snapshot_s3_region):
        raise unusable("snapshot_s3_region", config.snapshot_s3_region, "must be a region's name")
    if folder and any(part in ("", ".", "..") for part in folder.split("/")):
        raise unusable(
            "snapshot_s3_folder", folder, "must be names with single slashes between them"
        )


def _is_endpoint(url: str) -> bool:
    try:
        split = urlsplit(url)
        return (
            split.scheme in ("https", "http")
            and bool(split.hostname)
            and (split.port is None or split.port > 0)
            and not (split.username or split.password or split.query or split.fragment)
            and split.path in ("", "/")
        )
    except ValueError:
        return False
