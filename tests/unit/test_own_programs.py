"""A module of kubelite's own is run the same way, in whatever form kubelite is shipped."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import kubelite
from kubelite import own_programs
from kubelite.own_programs import own_program

ROOT = Path(kubelite.__file__).parents[2]
PRINTS = "import sys\nprint(sys.argv[1:])\n"
ZIPPED = """
import sys
sys.path[:0] = [{folder!r}]
import subprocess
from kubelite.own_programs import own_program
print(subprocess.run([*own_program("kubelite.some_program"), "--a", "b c"], capture_output=True, text=True))
"""


def test_an_installed_package_is_found_by_the_interpreter() -> None:
    assert own_program("kubelite.a") == (sys.executable, "-P", "-m", "kubelite.a")


def test_a_single_file_runs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert own_program("kubelite.a") == (sys.executable, "--run-module", "kubelite.a")


def test_a_zip_application_runs_what_it_has_unpacked(tmp_path: Path) -> None:
    """With folders whose names a shell or Python could misread."""
    package = tmp_path / "un'packed" / "kubelite"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "own_programs.py").write_text(Path(own_programs.__file__).read_text())
    (package / "some_program.py").write_text(
        f"if __name__ == '__main__':\n    {PRINTS.replace(chr(10), chr(10) + '    ')}"
    )
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", ZIPPED.format(folder=str(package.parent)))
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "app.pyz"], capture_output=True, text=True, check=True
    )
    assert "['--a', 'b c']" in done.stdout, done


def test_the_single_file_knows_the_words_that_it_is_started_with() -> None:
    entry = (ROOT / "packaging" / "entry.py").read_text()
    found = re.search(r'^RUN_MODULE, RUN_FILE = "(.*)", "(.*)"', entry, re.MULTILINE)
    assert found is not None
    assert found.groups() == (own_programs.RUN_MODULE, own_programs.RUN_FILE)
