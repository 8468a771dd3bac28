"""Which containers on an engine belong to a data folder."""

from pathlib import Path

import pytest

from kubelite.node.container_owner import (
    NODE_LABEL,
    OWNER_LABEL,
    UID_LABEL,
    ContainerOwner,
    ensure_owner,
    read_owner,
)
from kubelite.randomness import SeededRandomness

OURS, THEIRS = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
HERE, ELSEWHERE = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"


@pytest.mark.parametrize(
    ("owner", "node", "uid", "expected"),
    [
        (OURS, "node", ELSEWHERE, True),
        (OURS, "former", ELSEWHERE, True),  # the node was renamed
        (THEIRS, "node", ELSEWHERE, False),  # another data folder, whose node is called the same
        (THEIRS, "node", HERE, True),  # the id was lost, the pod's folder was not
        ("", "node", ELSEWHERE, True),  # of a version without ids
        ("", "former", ELSEWHERE, False),
        ("", "former", HERE, True),  # of a version without ids, and renamed since
        ("", "former", "../pods/" + HERE, False),
        ("", "former", "..", False),
        ("", "former", "", False),
    ],
)
def test_whose_a_container_is(
    tmp_path: Path, owner: str, node: str, uid: str, expected: bool
) -> None:
    (tmp_path / HERE).mkdir()
    labels = {NODE_LABEL: node, UID_LABEL: uid} | ({OWNER_LABEL: owner} if owner else {})
    assert ContainerOwner(OURS, "node", tmp_path).owns(labels) is expected


def test_what_kubelite_did_not_make_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / HERE).mkdir()
    assert not ContainerOwner(OURS, "node", tmp_path).owns({OWNER_LABEL: OURS, UID_LABEL: HERE})


def test_a_folder_without_an_id_owns_nothing_by_id(tmp_path: Path) -> None:
    owner = read_owner(tmp_path, "node")
    assert owner.id == ""
    assert not owner.owns({NODE_LABEL: "former", OWNER_LABEL: ""})
    assert not owner.owns({NODE_LABEL: "node", OWNER_LABEL: OURS})


def test_an_id_is_made_once_and_outlives_a_rename(tmp_path: Path) -> None:
    first = ensure_owner(tmp_path, "node", SeededRandomness(1))
    again = ensure_owner(tmp_path, "other", SeededRandomness(2))
    assert first.id
    assert (again.id, again.node, read_owner(tmp_path, "x").id) == (first.id, "other", first.id)
    assert again.owns({UID_LABEL: ELSEWHERE, **first.labels()})
    assert [path.name for path in tmp_path.iterdir()] == ["owner"]


@pytest.mark.parametrize("text", [b"", b"x", b"\xff" * 36, b"../" * 12])
def test_a_garbled_id_is_made_anew(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "owner").write_bytes(text)
    assert read_owner(tmp_path, "node").id == ""
    assert ensure_owner(tmp_path, "node", SeededRandomness(1)).id
