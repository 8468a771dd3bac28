"""Why an expression was refused, worded and laid out as cel-go does: users know its texts from other clusters."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

ERRORS_MAX: Final = 100  # cel-go's; what is beyond is counted
DEPTH_MAX: Final = 250  # cel-go's, of rules within each other and of nodes within each other
_SNIPPET_BYTES_MAX: Final = 16384
_WIDE_DOT: Final = "\uff0e"  # below characters of several bytes
_WIDE_CARET: Final = "\uff3e"
NOWHERE: Final = -1


class Issue(Struct, frozen=True):
    """What is wrong at a position (in characters; `NOWHERE` for the expression as a whole)."""

    position: int
    message: str


class CompileFailed(Exception):
    """An expression does not parse or check; its text shows each issue with the line and a caret."""

    def __init__(self, text: str, issues: Sequence[Issue]) -> None:
        super().__init__(display(text, issues))
        self.issues = tuple(issues)


class ProgramFailed(Exception):
    """A checked expression cannot become a program: a part of literals alone has no value."""


def display(text: str, issues: Sequence[Issue]) -> str:
    """Return all issues, in the order of their positions."""
    lines = text.split("\n")
    shown = sorted(issues[:ERRORS_MAX], key=lambda issue: _sort_key(text, issue.position))
    parts = [_display(text, lines, issue) for issue in shown]
    if len(issues) > ERRORS_MAX:
        parts.append(f"{len(issues) - ERRORS_MAX} more errors were truncated")
    return "\n".join(parts)


def _sort_key(text: str, position: int) -> int:
    return min(position, len(text))


def _display(text: str, lines: list[str], issue: Issue) -> str:
    if issue.position < 0:
        return f"ERROR: <input>:-1:0: {issue.message}"
    line = text.count("\n", 0, issue.position)
    column = issue.position - (text.rfind("\n", 0, issue.position) + 1)
    head = f"ERROR: <input>:{line + 1}:{column + 1}: {issue.message}"
    snippet = lines[line]
    if not text or len(snippet.encode(errors="replace")) > _SNIPPET_BYTES_MAX:
        return head
    snippet = snippet.replace("\t", " ")
    dots = "".join("." if character < "\x80" else _WIDE_DOT for character in snippet[:column])
    mark = _WIDE_CARET if snippet[column : column + 1] >= "\x80" else "^"
    return f"{head}\n | {snippet}\n | {dots}{mark}"
