"""The notice beside the facts says where each of them comes from."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "tests" / "facts"
NOTICE = (FACTS / "NOTICE").read_text()
SCRIPT = (ROOT / "scripts" / "facts.py").read_text()


def test_every_file_of_facts_has_its_source() -> None:
    files = {path.name for path in FACTS.iterdir() if path.suffix in {".json", ".toml", ".txt"}}
    assert "schemas-1.36.json" in files
    assert not sorted(name for name in files if name not in NOTICE)


def test_the_notice_names_the_versions_that_the_script_takes() -> None:
    pins = re.findall(r'"([a-z-]+)==([\d.]+)"', SCRIPT)
    assert len(pins) == 2
    assert not [pin for pin in pins if " ".join(pin) not in NOTICE]


def test_the_facts_are_compact() -> None:
    assert sum(path.stat().st_size for path in FACTS.iterdir() if path.is_file()) < 500_000
