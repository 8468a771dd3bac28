"""The names in an archive are read in both forms; what is none has none."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kubelite.node.images import archive_names
from kubelite.node.images.archive_names import names_in_archive

MANIFEST = [{"RepoTags": ["hello:1", "r.io/a/b:2"]}, {"RepoTags": None}]
INDEX = {
    "manifests": [
        {"annotations": {"io.containerd.image.name": "docker.io/library/hello:1"}},
        {"digest": "sha256:1"},
    ]
}


def _archive(path: Path, **files: Any) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, value in files.items():
            data = json.dumps(value).encode()
            member = tarfile.TarInfo(f"{name}.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"manifest": MANIFEST}, {"docker.io/library/hello:1", "r.io/a/b:2"}),
        ({"index": INDEX}, {"docker.io/library/hello:1"}),
        ({"index": INDEX, "manifest": MANIFEST}, {"docker.io/library/hello:1", "r.io/a/b:2"}),
        ({"manifest": {"RepoTags": 1}}, set()),
        ({"manifest": [{"RepoTags": [7]}]}, set()),
        ({"other": MANIFEST}, set()),
    ],
)
def test_names_are_whole(tmp_path: Path, files: Any, names: set[str]) -> None:
    assert names_in_archive(_archive(tmp_path / "a.tar", **files)) == names


def test_a_list_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_names, "INDEX_BYTES", 10)
    assert names_in_archive(_archive(tmp_path / "a.tar", manifest=MANIFEST)) == set()


def test_what_is_no_archive_has_no_names(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x" * 2000)
    assert names_in_archive(tmp_path / "a.tar") == set()
    assert names_in_archive(tmp_path) == set()
    assert names_in_archive(tmp_path / "missing.tar") == set()
