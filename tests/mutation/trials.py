"""Runs the tests of a module against a mutant of it, each in a fork of a process that has imported all else."""

import ast
import importlib
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

SOURCE = Path("src")
TESTS = Path("tests")
SUITES = ("unit", "property")  # the suites that are to notice; simulations only confirm
MEMORY_MAX_BYTES = 3 << 30  # a mutant may allocate for ever

PASSED, FAILED, TIMED_OUT = "passed", "failed", "timed out"


def name_of(path: Path) -> str:
    """Return the module's name: ``kubelite.api.auth.rbac`` of ``src/kubelite/api/auth/rbac.py``."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(path: Path) -> set[str]:
    """Return the names of what a file imports, at its top or inside of functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def tests_of(path: Path) -> list[Path]:
    """Return the unit and property tests that import a module, the one of the same path first."""
    name = name_of(path)
    inside = path.relative_to(SOURCE / "kubelite")
    own = TESTS / "unit" / inside.parent / f"test_{inside.name}"
    others = sorted(
        test
        for suite in SUITES
        for test in (TESTS / suite).rglob("test_*.py")
        if test != own and name in imported_by(test)
    )
    return [own, *others] if own.exists() else others


def independent_of(name: str) -> list[str]:
    """Return the modules of kubelite that do not load `name`, not even through others."""
    graph = {name_of(path): _loaded_by(path) for path in (SOURCE / "kubelite").rglob("*.py")}
    dependent: set[str] = set()
    more = {name}
    while more:
        dependent |= more
        more = {one for one, loaded in graph.items() if loaded & dependent} - dependent
    return sorted(graph.keys() - dependent)


def _loaded_by(path: Path) -> set[str]:
    """Return the names of what a file imports and of the packages around it, which are loaded first."""
    names = imported_by(path) | {name_of(path)}
    loaded = {
        ".".join(parts[:length])
        for parts in (name.split(".") for name in names)
        for length in range(1, len(parts) + 1)
    }
    return loaded - {name_of(path)}


def preload(name: str) -> None:
    """Import what trials need and what does not depend on the module, so that forks need not."""
    for one in ("pytest", "pytest_asyncio", "hypothesis", "msgspec"):
        importlib.import_module(one)
    for one in independent_of(name):
        if not one.endswith("__main__"):
            importlib.import_module(one)
    if name in sys.modules:
        raise RuntimeError(f"cannot mutate {name}: a module that does not import it has loaded it")


class MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from another source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name = name
        self._path = path
        self._source = source

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path.resolve(), loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)


def attempt(
    path: Path, source: str, tests: Sequence[Path], seconds: float, output: Path
) -> tuple[str, float]:
    """Run the tests against `source` in place of a module; return the outcome and the seconds taken."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _run(path, source, tests, output)
    ended = _wait(child, seconds)
    return ended, time.monotonic() - started


def _run(path: Path, source: str, tests: Sequence[Path], output: Path) -> None:
    """Run the tests and end the process."""
    os.setsid()
    code = 3
    try:
        opened = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, 1)
        os.dup2(opened, 2)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
        sys.meta_path.insert(0, MutantFinder(name_of(path), path, source))
        import hypothesis
        import pytest

        hypothesis.settings.register_profile("mutation", database=None, derandomize=True)
        hypothesis.settings.load_profile("mutation")
        # Plain asserts: pytest would load the modules of a package with a plugin itself, this one among them.
        options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider"]
        options += ["-W", "ignore::pytest.PytestWarning"]
        code = int(pytest.main([*options, *(str(test) for test in tests)]))
    finally:
        sys.stdout.flush()
        os._exit(code)


class _Late(Exception):
    """A trial takes longer than it may."""


def _wait(child: int, seconds: float) -> str:
    """Wait for a trial; one that takes too long is killed with all that it started."""

    def late(*_: object) -> None:
        raise _Late

    signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _, status = os.waitpid(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except _Late:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return TIMED_OUT
    return PASSED if os.waitstatus_to_exitcode(status) == 0 else FAILED


def spread(total: int, count: int) -> Iterator[int]:
    """Yield `count` of the places from 0 to `total`, evenly spread; all when there are no more."""
    number = min(total, count)
    for place in range(number):
        yield place * total // number
