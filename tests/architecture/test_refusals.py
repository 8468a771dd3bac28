"""Each refusal of the command line says what to do next: what ends a start or a command is all that a user is told."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "kubelite"
REFUSALS = {"CannotStart", "SnapshotFailed", "StoreLocked", "TokenFailed", "NotMerged", "fail"}
# `Refused` is a name of others, too.
OF_COMMANDS = {SOURCE / name for name in ("maintenance.py", "uninstall.py", "backup/actions.py")}
ADVICE = ("; ", "(see ", "must ", "needs ", "give ", "will do", "--")  # "--": it names the setting
UPSTREAM = ("failed to register CRI auth plugins",)  # the kubelet's own words, which name the file


def _text(node: ast.expr) -> str:
    """Return the constant parts of a message; "" if it is another error's whole text."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "…".join(_text(part) for part in parts if isinstance(part, ast.Constant))
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
        case _:
            return ""


def _refusals(tree: ast.AST, names: set[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in names:
                text = _text(first)
                if any(map(str.isalpha, text)):  # else it is another error's text
                    yield node.lineno, text


def test_each_says_what_to_do() -> None:
    silent = []
    for path in sorted(SOURCE.rglob("*.py")):
        names = REFUSALS | ({"Refused"} if path in OF_COMMANDS else set())
        silent += [
            f"{path.relative_to(SOURCE)}:{line}: {text}"
            for line, text in _refusals(ast.parse(path.read_text()), names)
            if not any(word in text for word in ADVICE) and not text.startswith(UPSTREAM)
        ]
    assert silent == []


def test_the_search_finds_what_there_is() -> None:
    tree = ast.parse('raise CannotStart(f"cannot use {path}: it is gone" + " now")\nfail(error)\n')
    assert list(_refusals(tree, REFUSALS)) == [(1, "cannot use …: it is gone now")]
