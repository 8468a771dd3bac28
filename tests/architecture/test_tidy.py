"""Structural rules of the code base."""

from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "kubelite"


def test_every_module_says_what_it_owns() -> None:
    silent = [str(path) for path in SOURCE.rglob("*.py") if not path.read_text().startswith('"""')]
    assert not silent
