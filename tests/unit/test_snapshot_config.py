"""What is refused of the settings of snapshots."""

from pathlib import Path

import pytest

from kubelite.config import Config, InvalidConfig, load

NONE = Path("/none.yaml")
BUCKET = {"snapshot_s3_bucket": "backups", "snapshot_passphrase_file": "/p"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"snapshot_retention": 0}, "--snapshot-retention 0: must be 1 to 10000"),
        ({"snapshot_schedule_cron": "daily"}, "--snapshot-schedule-cron daily: "),
        ({"snapshot_schedule_cron": "61 * * * *"}, "--snapshot-schedule-cron 61"),
        ({"snapshot_s3_bucket": "backups"}, "must be sealed; give --snapshot-passphrase-file"),
        ({**BUCKET, "snapshot_s3_bucket": "a/b"}, "--snapshot-s3-bucket a/b: must be the name"),
        ({**BUCKET, "snapshot_s3_bucket": ".."}, "must be the name of a bucket"),
        ({**BUCKET, "snapshot_s3_endpoint": ""}, '--snapshot-s3-endpoint "": must not be empty'),
        ({**BUCKET, "snapshot_s3_endpoint": "s3.example"}, "must be https://HOST or http://HOST"),
        ({**BUCKET, "snapshot_s3_endpoint": "file:///etc"}, "must be https://HOST"),
        ({**BUCKET, "snapshot_s3_endpoint": "https://u:p@h"}, "must be https://HOST"),
        ({**BUCKET, "snapshot_s3_endpoint": "https://h/path"}, "must be https://HOST"),
        ({**BUCKET, "snapshot_s3_endpoint": "https://h:99999"}, "must be https://HOST"),
        ({**BUCKET, "snapshot_s3_region": "eu west"}, "must be a region's name"),
        ({**BUCKET, "snapshot_s3_region": "a/b"}, "must be a region's name"),
        ({**BUCKET, "snapshot_s3_folder": "/a"}, "--snapshot-s3-folder /a: must be names"),
        ({**BUCKET, "snapshot_s3_folder": "a/../b"}, "must be names with single slashes"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(flags: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        load(flags, {}, NONE)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"snapshot_schedule_cron": "@every 6h"},
        {"snapshot_schedule_cron": "0 */12 * * *", "snapshot_retention": 1},
        BUCKET,
        {**BUCKET, "snapshot_s3_endpoint": "http://[::1]:9000/", "snapshot_s3_folder": "a/b"},
    ],
)
def test_what_works_is_taken(flags: dict[str, object]) -> None:
    assert isinstance(load(flags, {}, NONE), Config)


def test_snapshots_lie_in_the_data_folder_unless_told_otherwise() -> None:
    assert load({"data_dir": "/d"}, {}, NONE).snapshots_dir == Path("/d/snapshots")
    assert load({"snapshot_dir": "/s"}, {}, NONE).snapshots_dir == Path("/s")
