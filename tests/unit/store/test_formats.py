"""Data folders of every format that a release wrote are opened by this version.

`tests/data/formats/FORMAT/data.tar.xz` is a data folder as that release left it, with what `OBJECTS` says. When the
number rises, run this file with the last version of the former format, before the change: it records a folder, which is
never made anew. Then teach the store to convert it.
"""

import asyncio
import io
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import lmdb
import pytest
from click.testing import CliRunner

from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.local import LocalClient
from kubelite.cli import main
from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.preparation import open_store
from kubelite.prerequisites import CannotStart
from kubelite.randomness import SystemRandomness
from kubelite.store import snapshots
from kubelite.store.lmdb_engine import FORMAT

FORMATS = Path(__file__).parents[2] / "data" / "formats"
ARCHIVE = "data.tar.xz"
RECORDED = sorted(path.name for path in FORMATS.iterdir()) if FORMATS.is_dir() else []
DEFINITION = {
    "group": "example.com",
    "scope": "Namespaced",
    "names": {
        "plural": "widgets",
        "singular": "widget",
        "kind": "Widget",
        "listKind": "WidgetList",
    },
    "versions": [
        {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {
                "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            },
        }
    ],
}
LABELS = {"app": "web"}
POD = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "a", "image": "b:1"}]}}
# Group, version, resource, kind, name, namespace, and the fields of the object.
OBJECTS: tuple[tuple[str, str, str, str, str, str, dict[str, Any]], ...] = (
    ("", "v1", "namespaces", "Namespace", "shop", "", {}),
    ("", "v1", "configmaps", "ConfigMap", "settings", "shop", {"data": {"colour": "blue"}}),
    ("", "v1", "secrets", "Secret", "password", "shop", {"data": {"word": "c2VzYW1l"}}),
    (
        "",
        "v1",
        "services",
        "Service",
        "web",
        "shop",
        {"spec": {"clusterIP": "10.43.0.77", "selector": LABELS, "ports": [{"port": 80}]}},
    ),
    (
        "apps",
        "v1",
        "deployments",
        "Deployment",
        "web",
        "shop",
        {"spec": {"replicas": 3, "selector": {"matchLabels": LABELS}, "template": POD}},
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "roles",
        "Role",
        "reader",
        "shop",
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "widgets.example.com",
        "",
        {"spec": DEFINITION},
    ),
)


class Opened:
    """A control plane over the store of a data folder, its Secrets encrypted."""

    def __init__(self, folder: Path) -> None:
        self.config = Config(data_dir=str(folder), secrets_encryption=True)

    async def __aenter__(self) -> LocalClient:
        clock, randomness = SystemClock(), SystemRandomness()
        self._store, _ = await open_store(self.config, clock, randomness)
        plane = ControlPlane(
            self._store,
            clock=clock,
            randomness=randomness,
            signing_keys=[new_key()],
            certificates=ClientCertificates([], clock),
            config=self.config,
        )
        await plane.bootstrap("192.0.2.1", 6443)
        assert plane.system.problem == ""
        return plane.client(Caller("root", ("system:masters",)), "test")

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()


def body(kind: str, group: str, version: str, name: str, namespace: str) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": f"{group}/{version}".lstrip("/"),
        "kind": kind,
        "metadata": {"name": name, **place},
    }


def within(wanted: Any, found: Any) -> bool:
    """Return whether an object has all that is wanted; defaults may be beside it."""
    if isinstance(wanted, dict):
        return all(key in found and within(value, found[key]) for key, value in wanted.items())
    if isinstance(wanted, list):
        return len(wanted) == len(found) and all(map(within, wanted, found))
    return bool(wanted == found)


def extract(number: str, folder: Path) -> None:
    with tarfile.open(FORMATS / number / ARCHIVE) as archive:
        archive.extractall(folder, filter="data")


def test_there_is_a_folder_of_every_format() -> None:
    assert [str(number + 1) for number in range(int(FORMAT))] == sorted(RECORDED, key=int)


@pytest.mark.parametrize("number", RECORDED)
async def test_a_folder_of_an_earlier_release_opens(number: str, tmp_path: Path) -> None:
    extract(number, tmp_path)
    opened = Opened(tmp_path)
    async with opened as client:
        for group, version, plural, kind, name, namespace, fields in OBJECTS:
            found = await client.resource(group, version, plural).get(name, namespace)
            assert within({**body(kind, group, version, name, namespace), **fields}, found), found
            await client.resource(group, version, plural).patch(
                name, {"metadata": {"labels": {"seen": "yes"}}}, namespace
            )
    async with opened as client:
        settings = await client.resource("", "v1", "configmaps").get("settings", "shop")
        assert settings["metadata"]["labels"] == {"seen": "yes"}
    report = snapshots.check(opened.config.store_dir)
    assert report.problems == []
    assert snapshots.read_format(opened.config.store_dir) == FORMAT


def version(folder: Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["version", "--check-data", "--data-dir", str(folder)])
    return done.exit_code, done.output


@pytest.mark.parametrize("number", RECORDED)
def test_the_format_of_a_folder_is_told(number: str, tmp_path: Path) -> None:
    extract(number, tmp_path)
    code, said = version(tmp_path)
    assert code == 0
    assert f"{tmp_path}/db: format {number}, which this version opens\n" in said


def test_a_folder_of_a_later_release_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    extract(RECORDED[-1], tmp_path)
    data = tmp_path / "db"
    env = lmdb.open(str(data), lib_version=0, max_dbs=4)
    with env.begin(write=True) as transaction:
        transaction.put(b"format", b"99", db=env.open_db(b"meta", transaction))
    env.close()
    before = (data / "data.mdb").read_bytes()
    reason = "it has format 99, this version knows 1; a later version of kubelite wrote it: run that version"
    code, said = version(tmp_path)
    assert code == 1
    assert reason in said
    with pytest.raises(CannotStart, match=reason):
        asyncio.run(open_store(Config(data_dir=str(tmp_path)), SystemClock(), SystemRandomness()))
    assert (data / "data.mdb").read_bytes() == before


def test_there_may_be_no_store(tmp_path: Path) -> None:
    code, said = version(tmp_path)
    assert code == 0
    assert said.endswith("there is no store\n")


async def record(target: Path) -> None:
    """Write the archive of a data folder of this version."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        opened = Opened(folder)
        async with opened as client:
            for group, version, plural, kind, name, namespace, fields in OBJECTS:
                item = {**body(kind, group, version, name, namespace), **fields}
                await client.resource(group, version, plural).create(item)
        saved = snapshots.save(opened.config.store_dir, folder / "snapshots", SystemClock().now())
        target.parent.mkdir(parents=True)
        with tarfile.open(target, "w:xz") as archive:
            archive.add(opened.config.secrets_key_file, "secrets.key")
            data = saved.path.read_bytes()
            entry = tarfile.TarInfo("db/data.mdb")
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    asyncio.run(record(FORMATS / FORMAT.decode() / ARCHIVE))
    sys.stdout.write("recorded\n")
