"""What is installed is what was reviewed: the lock files pin every package and know its hashes."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ("run", "dev")
PINNED = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.-]*)(?:\[[a-z0-9,-]+\])?==(?P<version>\d[0-9A-Za-z.+!-]*)"
    r"(?: ; [^\n]*?)?(?: --hash=sha256:[0-9a-f]{64})+"
)


def _entries(lock: str) -> list[str]:
    """Return the logical lines of a lock file, without comments."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    lines = [line for line in text.splitlines() if not line.strip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [line.strip() for line in joined.splitlines() if line.strip()]


def _locked(lock: str) -> dict[str, str]:
    matches = [PINNED.fullmatch(entry) for entry in _entries(lock)]
    return {match["name"]: match["version"] for match in matches if match}


def test_every_package_is_pinned_and_has_its_hashes() -> None:
    for lock in LOCKS:
        entries = _entries(lock)
        assert entries
        # No option either: another index, a local path or --no-binary would get something else.
        assert not [entry[:100] for entry in entries if not PINNED.fullmatch(entry)], lock


def test_the_locks_agree_and_hold_what_is_declared() -> None:
    run, dev = _locked("run"), _locked("dev")
    assert not {name for name in run.keys() & dev.keys() if run[name] != dev[name]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for declared, locked in (
        (project["dependencies"], run),
        (project["optional-dependencies"]["dev"], run | dev),
    ):
        for dependency in declared:
            name, _, least = dependency.partition(";")[0].partition(">=")
            version = locked[name.lower()]
            assert _numbers(version) >= _numbers(least), f"{name} {version} is below {least}"


def test_nothing_is_installed_past_the_locks() -> None:
    """An installation either demands hashes or brings no packages along."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install [^|&\n]*", text)
    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-deps" in install, install


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
