"""Secrets that clients send are compared in constant time: `==` tells by its duration how much was guessed."""

import ast
from pathlib import Path

AUTH = Path(__file__).parents[2] / "src" / "kubelite" / "api" / "auth"
# What proves something by being known: modules that hold such a value and a client's side by side.
COMPARING = ("bootstrap_tokens.py", "static_tokens.py", "tokens.py")
SECRETS = {"digest", "known", "kept", "password", "secret_part", "token", "token-secret"}


def _words(node: ast.AST) -> set[str]:
    """Return the names and keys that an expression is made of."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute):
            found.add(part.attr)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            found.add(part.value)
    return found


def _compared(node: ast.Compare) -> list[ast.expr]:
    """Return what is compared as it is; `len(token)` and `token.count(…)` tell nothing of the value."""
    sides = [node.left, *node.comparators]
    return [side for side in sides if not _is_measure(side)]


def _is_measure(side: ast.expr) -> bool:
    if not isinstance(side, ast.Call):
        return False
    name = side.func.id if isinstance(side.func, ast.Name) else getattr(side.func, "attr", "")
    return name in ("len", "count")


def test_secrets_are_compared_in_constant_time() -> None:
    for name in COMPARING:
        tree = ast.parse((AUTH / name).read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert any(ast.unparse(call.func) == "hmac.compare_digest" for call in calls), name
    for path in sorted(AUTH.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                sides = _compared(node)
                # A literal on one side is no secret: it stands in the source.
                if len(sides) < 2 or any(isinstance(side, ast.Constant) for side in sides):
                    continue
                words = set().union(*map(_words, sides))
                assert not words & SECRETS, f"{path.name}:{node.lineno}: {ast.unparse(node)}"
