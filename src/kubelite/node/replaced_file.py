"""Writes the files by which a node sets others up: an engine, its plugins, the next start of kubelite."""

from pathlib import Path
from typing import Final

READ_ONLY_BY_OTHERS: Final = 0o644


def replace_file(path: Path, text: str, mode: int = READ_ONLY_BY_OTHERS) -> None:
    """Replace a file at once, since others may read or run it at any moment. Blocking; raises OSError.

    A file that is so already is left alone: what has run here before starts again on a full disk, too.
    """
    if _is_so(path, text.encode(), mode):
        return
    written = path.with_name(f".{path.name}.new")
    written.write_text(text)
    written.chmod(mode)
    written.replace(path)


def _is_so(path: Path, content: bytes, mode: int) -> bool:
    try:
        with path.open("rb") as file:
            is_same = file.read(len(content) + 1) == content
        return is_same and path.stat().st_mode & 0o7777 == mode and not path.is_symlink()
    except OSError:
        return False
