"""One module starts processes: everywhere else a spawn would hold the loop, have no deadline, or no bound."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "kubelite"
HOME = SOURCE / "spawn.py"
MODULES = {"subprocess", "multiprocessing", "pty", "asyncio.subprocess"}
CALLS = {
    "create_subprocess_exec",
    "create_subprocess_shell",
    "subprocess_exec",
    "subprocess_shell",
    "ProcessPoolExecutor",
}
OF_OS = ("exec", "fork", "popen", "posix_spawn", "spawn", "system")  # how functions of os begin


def _starts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {node.module or ""} & MODULES
            names |= {alias.name for alias in node.names} & (CALLS | MODULES)
        elif isinstance(node, ast.Attribute):
            of_os = isinstance(node.value, ast.Name) and node.value.id == "os"
            is_start = node.attr in CALLS or (of_os and node.attr.startswith(OF_OS))
            names = {node.attr} if is_start else set()
        else:
            continue
        for name in names:
            yield getattr(node, "lineno", 0), name


def test_processes_are_started_in_one_place() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path != HOME
        for line, name in _starts(ast.parse(path.read_text()))
    ]
    assert not found
    assert list(_starts(ast.parse(HOME.read_text())))  # the search finds what there is


def test_one_module_knows_how_a_module_of_ours_is_run() -> None:
    """A zip application's interpreter does not find the package, and a single file is its own interpreter."""
    allowed = {
        "own_programs.py",
        "installing/program.py",  # says where the interpreter lies
        "node/cni/plugin.py",  # a file that needs no package; a single file runs files as well
    }
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if "sys.executable" in path.read_text()
    }
    assert found == allowed
