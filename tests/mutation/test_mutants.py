"""The mutator itself: which changes it makes, which tests it runs, and that it tells survivors from the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutation import trials
from mutation.mutants import mutants


def changed(body: str) -> set[str]:
    """Return what becomes of a function's body, one text for each mutant."""
    head = "def f(a, b):\n"
    source = head + "".join(f"    {line}\n" for line in body.splitlines())
    made = set()
    for one in mutants(source):
        assert one.source.startswith(head)
        compile(one.source, "mutant", "exec")
        made.add("\n".join(line[4:] for line in one.source.splitlines()[1:]))
    return made


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x = a < b", {"x = (a <= b)"}),
        ("x = a == b", {"x = (a != b)"}),
        ("x = a is not b", {"x = (a is b)"}),
        ("x = a not in b", {"x = (a in b)"}),
        ("x = a < b <= a", {"x = (a <= b <= a)", "x = (a < b < a)"}),
        ("x = a and b", {"x = (a or b)", "x = (b)", "x = (a)"}),
        ("x = not a", {"x = (a)"}),
        ("x = a + b", {"x = (a - b)"}),
        ("x = 7", {"x = (8)", "x = (6)"}),
        ("x = True", {"x = False"}),
        ("x = min(a)", {"x = max(a)"}),
        ("return a", {"return None"}),
        ("return None", set()),
        ("a.b = b", {"pass"}),
        ("x: int = a", set()),
        ("a.go(b)", {"pass"}),
        ("log.info(b)", set()),
        ("raise a", {"pass"}),
        ("assert a < b", set()),
        ('x = f"{a + 1}"', set()),
        ('"""Add 1."""', set()),
        ("if a:\n    x = b", {"if (not a):\n    x = b"}),
        ("x = a if a.b else b", {"x = a if (not a.b) else b"}),
        # Positions are in bytes, and letters may have many.
        ("x = 'ä'; y = a < b", {"x = 'ä'; y = (a <= b)"}),
    ],
)
def test_what_is_changed(body: str, expected: set[str]) -> None:
    assert changed(body) == expected


def test_wording_annotations_and_tuning_values_are_left_alone() -> None:
    source = (
        '"""Doc."""\nSIZE = 7\nx: int = 8\nclass A(B, frozen=True):\n    def f(self) -> 1: ...\n'
    )
    assert mutants(source) == []


def test_a_mutant_shows_its_change() -> None:
    source = "def f(a):\n    if a == 1:\n        return 2\n"
    (one,) = [one for one in mutants(source) if one.what == "comparison"]
    assert one.line == 2
    assert "-    if a == 1:\n+    if (a != 1):" in one.diff(source, "f.py")


def test_the_tests_of_a_module_begin_with_its_own() -> None:
    tests = trials.tests_of(Path("src/kubelite/control/job_plan.py"))
    assert tests[0] == Path("tests/unit/control/test_job_plan.py")
    assert Path("tests/unit/control/test_job.py") in tests
    assert not any("simulation" in test.parts for test in tests)


def test_what_loads_a_module_is_not_loaded_before_it() -> None:
    others = trials.independent_of("kubelite.store.history")
    assert {"kubelite.clock", "kubelite.store.index"} <= set(others)
    # The last of these knows it through others only.
    assert not {"kubelite.store.history", "kubelite.store.embedded", "kubelite.server"} & set(
        others
    )


@pytest.mark.parametrize(
    ("total", "count", "places"), [(10, 5, [0, 2, 4, 6, 8]), (3, 9, [0, 1, 2]), (0, 9, [])]
)
def test_the_tried_are_spread(total: int, count: int, places: list[int]) -> None:
    assert list(trials.spread(total, count)) == places


# A process of its own, because this one has loaded the module.
TRIAL = """
import sys
from pathlib import Path
from mutation import trials

test, added, seconds, output = sys.argv[1:]
path = Path("src/kubelite/control/indexes.py")
trials.preload(trials.name_of(path))
print(trials.attempt(path, path.read_text() + added, [Path(test)], float(seconds), Path(output))[0])
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": "src:tests"}
TESTED = "from kubelite.control.indexes import parse\n\n\ndef test() -> None:\n    assert len(parse('1-3')) == 3\n"


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("", trials.PASSED),
        ("\nparse = lambda text: ()\n", trials.FAILED),
        ("\nwhile True:\n    pass\n", trials.TIMED_OUT),
        ("\nraise SystemExit(0)\n", trials.FAILED),
    ],
)
def test_a_trial_in_a_process_of_its_own(tmp_path: Path, added: str, expected: str) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(TESTED)
    seconds = 2.0 if expected == trials.TIMED_OUT else 60.0
    line = [sys.executable, "-c", TRIAL, str(test), added, str(seconds), str(tmp_path / "output")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=100, env=ENVIRONMENT)
    assert done.stdout.strip() == expected, done.stdout + done.stderr
