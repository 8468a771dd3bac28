"""What rotation does to the files of a log."""

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.node.cri.log_folder import log_path, rotated
from kubelite.node.cri.rotated_files import (
    Cleanup,
    compress,
    next_date,
    plan_cleanup,
    rename,
    restore,
    size_of,
)
from kubelite.node.log_policy import LogPolicy

NOW = datetime(2026, 5, 1, 10, tzinfo=UTC)
A, B, C, D = (f"0.log.20260501-00000{number}" for number in range(4))
POLICY = LogPolicy(100, 5)


@pytest.mark.parametrize(
    ("sizes", "policy", "remove", "kept"),
    [
        ({}, POLICY, (), ()),
        ({A: 100}, POLICY, (), (A,)),
        ({A: 1, B: 1, C: 1}, POLICY, (), (A, B, C)),
        ({A: 1, B: 1, C: 1, D: 1}, POLICY, (A,), (B, C, D)),
        ({A + ".gz": 1, B: 1}, LogPolicy(100, 3), (A + ".gz",), (B,)),
        ({A: 1}, LogPolicy(100, 2), (A,), ()),
        ({A: 100, A + ".gz": 9}, POLICY, (A,), (A + ".gz",)),  # cut short before it was removed
        ({A: 100, A + ".tmp": 9}, POLICY, (A + ".tmp",), (A,)),
        ({A: 1, B: 250, C: 100}, POLICY, (A, B), (C,)),  # larger than all may be together
        ({A: 500}, POLICY, (A,), ()),
        ({"1.log": 1, "0.log.old": 1, "10.log.20260501-000000": 1}, POLICY, (), ()),
    ],
)
def test_which_files_go(
    sizes: dict[str, int], policy: LogPolicy, remove: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    assert plan_cleanup("0.log", {"0.log": 100, **sizes}, policy) == Cleanup(remove, kept)


@given(
    st.dictionaries(st.sampled_from([A, B, C, D, A + ".gz", C + ".gz"]), st.integers(0, 200)),
    st.integers(0, 400),
    st.integers(2, 6),
)
def test_what_stays_is_within_the_policy(sizes: dict[str, int], size: int, files: int) -> None:
    policy = LogPolicy(100, files)
    plan = plan_cleanup("0.log", {"0.log": size, **sizes}, policy)
    left = set(sizes) - set(plan.remove)
    assert left == set(plan.kept)
    assert len(left) + 2 <= max(files, 2)
    assert sum(sizes[name] for name in left) <= max(policy.total_bytes - 100 - size, 0)
    assert (
        plan_cleanup("0.log", {"0.log": size, **{n: sizes[n] for n in left}}, policy).remove == ()
    )


@pytest.mark.parametrize(
    ("names", "date"),
    [
        ([], "20260501-100000"),
        (["0.log.20260501-095959"], "20260501-100000"),
        (["0.log.20260501-100000"], "20260501-100001"),
        (["0.log.20270101-235959.gz"], "20270102-000000"),  # the clock went back
        (["0.log.99999999-999999"], "20260501-100000"),
        (["0.log.99991231-235959"], "20260501-100000"),
    ],
)
def test_files_are_named_in_order(names: list[str], date: str) -> None:
    assert next_date("0.log", dict.fromkeys(names, 1), NOW) == date


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pods" / "d_web_u" / "app"
    folder.mkdir(parents=True)
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_log_is_renamed_and_the_one_before_it_compressed(folder: Path) -> None:
    path = log_path(folder / "0.log")
    assert size_of(path) is None
    for number in range(6):
        (folder / "0.log").write_text(f"{number}" * 100)
        assert size_of(path) == 100
        renamed = rename(path, LogPolicy(100, 4), NOW)
        compress(path, renamed)
    names = rotated("0.log", names_in(folder))
    assert names_in(folder) == names
    assert [name.endswith(".gz") for name in names] == [True, True, False]
    assert gzip.decompress((folder / names[0]).read_bytes()) == b"3" * 100
    assert (folder / names[2]).read_text() == "5" * 100


def test_a_compressed_file_keeps_date_and_mode(folder: Path) -> None:
    file = folder / A
    file.write_text("x")
    file.chmod(0o640)
    os.utime(file, (1, 1234567890))
    compress(log_path(folder / "0.log"), "")
    state = (folder / f"{A}.gz").stat()
    assert (state.st_mtime, state.st_mode & 0o777) == (1234567890, 0o640)
    assert not file.exists()


def test_a_name_is_given_back_unless_it_is_taken(folder: Path) -> None:
    path = log_path(folder / "0.log")
    (folder / "0.log").write_text("old")
    renamed = rename(path, POLICY, NOW)
    restore(path, renamed)
    assert names_in(folder) == ["0.log"]
    renamed = rename(path, POLICY, NOW)
    (folder / "0.log").write_text("new")
    restore(path, renamed)
    assert (folder / "0.log").read_text() == "new"
    assert (folder / renamed).read_text() == "old"


def test_nothing_is_written_or_read_through_a_link(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / A).symlink_to(secret)
    (folder / f"{B}.tmp").symlink_to(secret)
    (folder / B).write_text("b")
    with pytest.raises(OSError, match="regular"):
        compress(log_path(folder / "0.log"), "")
    (folder / A).unlink()
    with pytest.raises(FileExistsError):
        compress(log_path(folder / "0.log"), "")
    (folder / "0.log").write_text("x")
    rename(log_path(folder / "0.log"), POLICY, NOW)
    assert secret.read_text() == "secret"
    assert not (folder / f"{B}.tmp").is_symlink()


def test_a_full_disk_leaves_no_half_of_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / A).write_text("x" * 100)

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(OSError, match="No space"):
        compress(log_path(folder / "0.log"), "")
    assert names_in(folder) == [A]
