"""Builds what kubelite is shipped as: `python packaging/build.py OUT [sdist] [wheel] [zip] [binary]`, all by default.

It needs requirements/dist.txt. Files have the date of the commit (or SOURCE_DATE_EPOCH), so that the same commit gives
the same wheel, sdist and zip application.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE")
FORMS = ("sdist", "wheel", "zip", "binary")
EARLIEST = 315_532_800  # 1980, before which a zip archive has no dates
# Compiled modules carry the version in their names, so those of several lie side by side.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
UNUSED = ("*.pyi", "*.pyx", "*.pxd", "*.c", "*.h", "__pycache__")
EXCLUDED = ("tkinter", "test", "pydoc_data", "lib2to3", "setuptools", "pip")


def main(arguments: Sequence[str]) -> None:
    """Build the forms that are named into a folder."""
    out, forms = Path(arguments[0]).resolve(), arguments[1:] or FORMS
    out.mkdir(parents=True, exist_ok=True)
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
    os.umask(0o022)
    os.environ["PYTHONHASHSEED"] = "0"  # sets would be written in another order each time
    with tempfile.TemporaryDirectory(prefix="kubelite-dist-") as folder:
        work = Path(folder)
        source = copied_sources(work / "source")
        if "sdist" in forms:
            sdist(source, out)
        if {"wheel", "zip", "binary"} & set(forms):
            made = wheel(source, out)
        if {"zip", "binary"} & set(forms):
            site = packages(work / "site", made, PYTHONS if "zip" in forms else ())
        if "zip" in forms:
            zip_application(site, out)
        if "binary" in forms:
            binary(site, work, out)
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size / 1e6:7.1f} MB  {path}")


def epoch() -> int:
    """Return the date of what is built, in seconds."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        line = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
        done = subprocess.run(line, check=False, capture_output=True, text=True)
        given = done.stdout.strip() or str(EARLIEST)
    return max(int(given), EARLIEST)


def run(*line: str, folder: Path | None = None) -> None:
    """Run a program; what it prints is shown only if it fails."""
    done = subprocess.run(
        line, check=False, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(line[:6])} … failed:\n{done.stdout[-4000:]}")


def copied_sources(folder: Path) -> Path:
    """Copy what a build reads: setuptools would write into the sources, and read what an earlier build has left."""
    folder.mkdir()
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=skipped)
    for path in folder.rglob("*"):  # modes go into the archives
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def sdist(source: Path, out: Path) -> Path:
    """Build the source distribution."""
    build = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-c", build, folder, folder=source)
        (made,) = Path(folder).iterdir()
        return repacked(made, out / made.name)


def repacked(made: Path, path: Path) -> Path:
    """Write a tar archive anew, with one date and one owner, in the order of the names."""
    with (
        tarfile.open(made) as source,
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=epoch(), fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in sorted(source.getmembers(), key=lambda each: each.name):
            member.mtime, member.uid, member.gid = epoch(), 0, 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            target.addfile(member, source.extractfile(member) if member.isfile() else None)
    return path


def wheel(source: Path, out: Path) -> Path:
    """Build the wheel."""
    build = (
        "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    )
    for former in out.glob("*.whl"):
        former.unlink()
    run(sys.executable, "-c", build, str(out), folder=source)
    (made,) = out.glob("*.whl")
    return made


def packages(folder: Path, made: Path, pythons: Sequence[str]) -> Path:
    """Install kubelite and what it needs into a folder, compiled modules for several versions of Python."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--no-deps", "--no-compile", "--target", str(folder)]
    needs = ["--require-hashes", "-r", str(ROOT / "requirements" / "run.txt")]
    run(*install, *needs)
    for version in pythons:
        if version != f"{sys.version_info[0]}.{sys.version_info[1]}":
            with tempfile.TemporaryDirectory() as other:
                chosen = ["--python-version", version, "--only-binary=:all:"]
                run(*install[:-1], other, *needs, *chosen)
                _add_compiled(Path(other), folder)
    run(*install, str(made))
    for pattern in UNUSED:
        for path in sorted(folder.rglob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(folder / "bin", ignore_errors=True)
    return folder


def _add_compiled(source: Path, folder: Path) -> None:
    for path in source.rglob("*.so*"):
        target = folder / path.relative_to(source)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


@contextmanager
def program(out: Path, name: str) -> Iterator[Path]:
    """Give a path to write a program to, which then takes the place of a former one."""
    path = out / f".{name}.new"
    yield path
    path.chmod(0o755)
    path.replace(out / name)


def zip_application(site: Path, out: Path) -> None:
    """Pack the packages into one file that a Python runs."""
    with program(out, "kubelite.pyz") as path:
        line = [
            sys.executable,
            "-m",
            "shiv",
            "--site-packages",
            str(site),
            "--output-file",
            str(path),
        ]
        run(
            *line,
            "--compressed",
            "--reproducible",
            "--console-script",
            "kubelite",
            "--python",
            "/usr/bin/env python3",
        )


def binary(site: Path, work: Path, out: Path) -> None:
    """Pack the packages and the interpreter into one file."""
    name = f"kubelite-linux-{os.uname().machine}"
    line = [
        sys.executable,
        "-m",
        "PyInstaller",
        "--onefile",
        "--noconfirm",
        "--log-level=WARN",
        "--strip",
    ]
    line += ["--name", name, "--paths", str(site), "--distpath", str(work / "dist")]
    line += ["--workpath", str(work / "build"), "--specpath", str(work)]
    for package in ("kubelite", "pyroute2", "aiohttp", "uvloop"):
        line += ["--collect-submodules", package]
    line += ["--collect-data", "kubelite"]
    for module in EXCLUDED:
        line += ["--exclude-module", module]
    os.environ["PYTHONPATH"] = str(
        site
    )  # the packages are looked for by processes of PyInstaller's as well
    run(*line, str(ROOT / "packaging" / "entry.py"))
    with program(out, name) as path:
        shutil.copy(work / "dist" / name, path)


if __name__ == "__main__":
    main(sys.argv[1:])
