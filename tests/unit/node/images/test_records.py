"""The records of pulls, in memory and on the disk."""

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubelite.clock import SetClock
from kubelite.limits import PULL_RECORD, PULL_RECORDS
from kubelite.node.images.records import Access, AccountAccess, PullRecords, SecretAccess, merge
from kubelite.node.runtime import Image

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVERYBODY = Access(node_pods_accessible=True)
SECRET = SecretAccess("1", "team", "pull", "hash")


def _records(folder: Path | None) -> PullRecords:
    return PullRecords(SetClock(NOON), folder)


def test_a_pull_is_recorded_in_the_kubelets_form(tmp_path: Path) -> None:
    async def main() -> None:
        records = _records(tmp_path)
        await records.begin("r.io/a:1")
        (intent,) = (tmp_path / "pulling").iterdir()
        assert json.loads(intent.read_text()) == {
            "kind": "ImagePullIntent",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "image": "r.io/a:1",
        }
        assert records.was_pulled("r.io/a:1", "sha256:1")
        await records.pulled("r.io/a:1", "r.io/a", "sha256:1", Access((SECRET,)))
        assert not list((tmp_path / "pulling").iterdir())
        (pulled,) = (tmp_path / "pulled").iterdir()
        assert pulled.stat().st_mode & 0o777 == 0o600
        assert json.loads(pulled.read_text()) == {
            "kind": "ImagePulledRecord",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "lastUpdatedTime": "2026-05-01T12:00:00Z",
            "imageRef": "sha256:1",
            "credentialMapping": {
                "r.io/a": {
                    "kubernetesSecrets": [
                        {
                            "uid": "1",
                            "namespace": "team",
                            "name": "pull",
                            "credentialHash": "hash",
                        }
                    ]
                }
            },
        }

    asyncio.run(main())


def test_accounts_are_recorded_in_the_kubelets_form_beside_secrets(tmp_path: Path) -> None:
    async def main() -> None:
        records = _records(tmp_path)
        await records.add("r.io/a", "sha256:1", Access((SECRET,)))
        for uid in ("2", "1", "2"):
            access = Access(kubernetes_service_accounts=(AccountAccess("team", "app", uid),))
            await records.add("r.io/a", "sha256:1", access)
        [file] = (tmp_path / "pulled").iterdir()
        mapping = json.loads(file.read_text())["credentialMapping"]["r.io/a"]
        account = {"namespace": "team", "name": "app"}
        assert mapping["kubernetesServiceAccounts"] == [
            {**account, "uid": "1"},
            {**account, "uid": "2"},
        ]
        assert len(mapping["kubernetesSecrets"]) == 1
        again = _records(tmp_path)
        await again.load(())
        assert again.record("sha256:1") == records.record("sha256:1")

    asyncio.run(main())


def test_records_survive_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        before = _records(tmp_path)
        for number, access in enumerate((EVERYBODY, Access((SECRET,)))):
            await before.begin(f"r.io/{number}")
            await before.pulled(f"r.io/{number}", f"r.io/{number}", f"sha256:{number}", access)
        after = _records(tmp_path)
        await after.load([])
        assert after.record("sha256:0") == before.record("sha256:0")
        assert after.record("sha256:1") == before.record("sha256:1")
        assert after.record("sha256:2") is None

    asyncio.run(main())


def test_a_pull_that_a_crash_cut_off_counts_as_pulled_with_logins_unknown(tmp_path: Path) -> None:
    async def main() -> None:
        before = _records(tmp_path)
        await before.begin("busybox")
        await before.begin("r.io/never")
        after = _records(tmp_path)
        await after.load([Image("sha256:1", ("docker.io/library/busybox:latest",))])
        record = after.record("sha256:1")
        assert record is not None
        assert record.credential_mapping == {}
        assert not after.was_pulled("busybox", "sha256:2")  # its intent is done with
        assert after.was_pulled("r.io/never", "sha256:3")  # the engine may still be at it

    asyncio.run(main())


def test_an_intent_stays_until_the_last_of_equal_pulls_has_ended(tmp_path: Path) -> None:
    async def main() -> None:
        records = _records(tmp_path)
        await records.begin("r.io/a")
        await records.begin("r.io/a")
        await records.failed("r.io/a")
        assert records.was_pulled("r.io/a", "")
        assert list((tmp_path / "pulling").iterdir())
        await records.failed("r.io/a")
        assert not records.was_pulled("r.io/a", "")
        assert not list((tmp_path / "pulling").iterdir())

    asyncio.run(main())


def test_records_of_images_that_are_gone_are_dropped_but_newer_ones(tmp_path: Path) -> None:
    async def main() -> None:
        records = _records(tmp_path)
        for name in ("a", "b"):
            await records.add(f"r.io/{name}", f"sha256:{name}", EVERYBODY)
        await records.prune({"sha256:a"}, since="2026-05-01T12:00:00Z")
        assert records.record("sha256:b") is not None
        await records.prune({"sha256:a"}, since="2026-05-01T12:00:01Z")
        assert records.record("sha256:a") is not None
        assert records.record("sha256:b") is None
        assert len(list((tmp_path / "pulled").iterdir())) == 1

    asyncio.run(main())


def test_access_grows_and_the_newer_hash_of_a_secret_counts() -> None:
    newer = SecretAccess("1", "team", "pull", "newer")
    other = SecretAccess("2", "other", "pull", "hash")
    assert merge(None, Access((SECRET,))) == Access((SECRET,))
    assert merge(Access((SECRET,)), Access((newer,))) == Access((newer,))
    assert merge(Access((SECRET,)), Access((other,))) == Access((other, SECRET))
    assert merge(Access((SECRET,)), EVERYBODY) == EVERYBODY
    assert merge(EVERYBODY, Access((SECRET,))) == EVERYBODY


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"x":' + b"[" * 5000,
        b"\xff",
        b'{"kind": "Other"}',
        b" " * (PULL_RECORD.value + 1),
    ],
)
def test_a_file_that_cannot_be_read_counts_for_nothing(tmp_path: Path, content: bytes) -> None:
    async def main() -> None:
        records = _records(tmp_path)
        await records.add("r.io/a", "sha256:a", EVERYBODY)
        (file,) = (tmp_path / "pulled").iterdir()
        file.write_bytes(content)
        again = _records(tmp_path)
        await again.load([])
        assert again.record("sha256:a") is None

    asyncio.run(main())


def test_a_file_under_another_images_name_counts_for_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        records = _records(tmp_path)
        await records.add("r.io/a", "sha256:a", EVERYBODY)
        (file,) = (tmp_path / "pulled").iterdir()
        file.rename(file.with_name("sha256-" + "0" * 64))
        again = _records(tmp_path)
        await again.load([])
        assert again.record("sha256:a") is None

    asyncio.run(main())


def test_beyond_the_bound_the_oldest_record_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PULL_RECORDS, "value", 2)

    async def main() -> None:
        records = _records(tmp_path)
        for name in ("a", "b", "c"):
            await records.add(f"r.io/{name}", f"sha256:{name}", EVERYBODY)
        assert records.record("sha256:a") is None
        assert len(list((tmp_path / "pulled").iterdir())) == 2
        again = _records(tmp_path)
        await again.load([])
        assert again.record("sha256:c") is not None

    asyncio.run(main())


def test_a_full_disk_keeps_a_pull_from_beginning_but_not_from_ending(tmp_path: Path) -> None:
    async def main() -> None:
        records = _records(tmp_path / "file")
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(OSError, match=os.strerror(20)):
            await records.begin("r.io/a")
        assert not records.was_pulled("r.io/a", "")
        await records.pulled("r.io/a", "r.io/a", "sha256:a", EVERYBODY)
        assert records.record("sha256:a") is not None

    asyncio.run(main())


def test_without_a_folder_records_are_kept_in_memory() -> None:
    async def main() -> None:
        records = _records(None)
        await records.begin("r.io/a")
        await records.pulled("r.io/a", "r.io/a", "sha256:a", EVERYBODY)
        assert records.record("sha256:a") is not None
        assert not records.was_pulled("r.io/a", "sha256:b")

    asyncio.run(main())
