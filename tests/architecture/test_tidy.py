"""Structural rules of the code base that no linter knows."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "kubelite"
MODULES = sorted(SOURCE.rglob("*.py"))
# Entered from outside: by the interpreter, or by name from pyproject.toml or from `joining.keys`.
ENTRIES = {
    "kubelite.__main__",
    "kubelite.cli",
    "kubelite.joining.key_program",
    "kubelite.ingress.process",
    "kubelite.pytest_plugin",
}
# Ready for what comes next, and for now used by tests and examples only.
AHEAD: set[str] = set()
FILE_LINES_MAX = 800
TABLES = {"kubelite.limits"}  # one row after the other; a reader looks one up
FUNCTION_LINES_MAX = 110


def _name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_module_says_what_it_owns() -> None:
    silent = [_name(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_every_module_is_used() -> None:
    imported: set[str] = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    lonely = {
        name
        for name in map(_name, MODULES)
        if name not in imported and not any(used.startswith(name + ".") for used in imported)
    }
    # API types are found by walking the package.
    lonely = {name for name in lonely if not name.startswith("kubelite.api.kinds")}
    assert not sorted(lonely - ENTRIES - AHEAD)
    assert not sorted(AHEAD - lonely), "no longer ahead: take it off the list"


def test_the_tail_of_sizes_stays_short() -> None:
    long_files = [
        _name(path)
        for path in MODULES
        if _name(path) not in TABLES and len(path.read_text().splitlines()) > FILE_LINES_MAX
    ]
    assert not long_files
    long_functions = [
        f"{_name(path)}.{node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert not long_functions


def test_exemptions_carry_a_reason() -> None:
    bare = [
        f"{_name(path)}: {line.strip()}"
        for path in MODULES
        for line in path.read_text().splitlines()
        if re.search(r"# (noqa(: [A-Z0-9, ]+)?|type: ignore(\[[a-z-]+\])?)\s*$", line)
    ]
    assert not bare


def test_the_map_names_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = {path.parent for path in MODULES} - {SOURCE}
    missing = [
        name
        for name in (str(folder.relative_to(SOURCE)) for folder in folders)
        if f"`{name}/`" not in text
    ]
    assert not sorted(missing)
