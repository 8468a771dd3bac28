"""How this process starts a program of its own package in another process, whatever form kubelite is shipped in.

An installed package is found by the interpreter, which a zip application's is not once it has been unpacked. A
single-file program is its own interpreter: its first word tells it to run a module.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import kubelite

RUN_MODULE: Final = (
    "--run-module"  # the first argument of a single-file program, see packaging/entry.py
)
RUN_FILE: Final = "-IS"  # the same, as the line with `#!` of the CNI plugin has it
_FROM_FOLDER: Final = (
    "import runpy, sys; sys.path[:0] = [{folder!r}]; "
    "runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)


def own_program(module: str) -> tuple[str, ...]:
    """Return the command line that runs a module of this package; arguments may follow."""
    main = sys.modules.get("__main__")
    if getattr(sys, "frozen", False):
        return (sys.executable, RUN_MODULE, module)
    if _is_from_zip(main):
        folder = str(Path(kubelite.__file__).parents[1])
        return (sys.executable, "-P", "-c", _FROM_FOLDER.format(folder=folder, module=module))
    # -P: not from the working directory, which may be anybody's.
    return (sys.executable, "-P", "-m", module)


def _is_from_zip(main: ModuleType | None) -> bool:
    """Return whether the program is a zip application; its first module is loaded from the archive."""
    return type(getattr(main, "__loader__", None)).__name__ == "zipimporter"
