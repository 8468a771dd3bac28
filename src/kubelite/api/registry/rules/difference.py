"""Describes the difference that a rejected change would have made."""

from collections.abc import Iterator
from typing import Any

from kubelite.api.machinery.causes import shown

LINES_MAX = 40


def difference(before: Any, after: Any) -> str:
    """Return a line with the path of each removed (``-``) and added (``+``) value, for the end of a message."""
    lines = []
    for path, was, now in _differing("", before, after):
        lines += [f"- {path}: {shown(was)}"] if was is not None else []
        lines += [f"+ {path}: {shown(now)}"] if now is not None else []
        if len(lines) > LINES_MAX:
            lines[LINES_MAX:] = ["..."]
            break
    return "\n".join(lines)


def _differing(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from _differing(f"{path}.{name}", before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            was, now = (each[index] if index < len(each) else None for each in (before, after))
            yield from _differing(f"{path}[{index}]", was, now)
    else:
        yield path.removeprefix("."), before, after
