"""Control groups, as folders."""

from pathlib import Path

from kubelite.node.cgroups import remove_all


def test_groups_nested_by_a_container_are_all_removed(tmp_path: Path) -> None:
    """Deeper than Python recurses."""
    place = tmp_path / "memory/kubelite/besteffort/podu"
    place.mkdir(parents=True)
    for _ in range(1200):
        place /= "d"
        place.mkdir()
    (tmp_path / "kubelite/a").mkdir(parents=True)
    (tmp_path / "kubelite/b").mkdir()
    (tmp_path / "kubelite/b/used").touch()  # by another kubelite on this host
    (tmp_path / "other/x").mkdir(parents=True)
    remove_all(tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "kubelite",
        "kubelite/b",
        "kubelite/b/used",
        "memory",
        "other",
        "other/x",
    ]
