"""docs/security.md names tests: each must exist, and each vulnerability has one."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`([a-z0-9_/]+\.py)::(\w+)`")
SOURCES = re.compile(r"`((?:[a-z0-9_]+/)+[a-z0-9_]+\.py)`")
# Where a path of the document may begin: `http/relay.py` stands for `api/http/relay.py`.
ROOTS = ("", "api", "api/registry", "api/http")


@cache
def _tests_of(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _rows() -> list[list[str]]:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| CVE-")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall(DOCUMENT)
    assert len(named) > 60
    assert not [f"{path}::{name}" for path, name in named if not (TESTS / path).is_file()]
    assert not [f"{path}::{name}" for path, name in named if name not in _tests_of(path)]


def test_every_vulnerability_has_a_test() -> None:
    rows = _rows()
    assert all(len(row) == 4 for row in rows)
    assert not [row[0] for row in rows if not NAMED.search(row[3])]


def test_every_source_that_is_named_exists() -> None:
    named = {path for path in SOURCES.findall(DOCUMENT) if not (TESTS / path).is_file()}
    assert len(named) > 30
    source = ROOT / "src" / "kubelite"
    assert not [
        path for path in named if not any((source / root / path).is_file() for root in ROOTS)
    ]


def test_no_vulnerability_stands_twice() -> None:
    stated = [name for row in _rows() for name in re.findall(r"CVE-\d{4}-\d+", row[0])]
    absent = re.findall(r"CVE-\d{4}-\d+", DOCUMENT.partition("### Without a counterpart")[2])
    everything = stated + absent
    assert not {name for name in everything if everything.count(name) > 1}
