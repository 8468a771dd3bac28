"""Reads the reports of the suite, and writes the table of docs/conformance.md."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

AREA = re.compile(r"\[sig-([a-z-]+)\]")
KIND = re.compile(r"^\[It\] ")
FAILURE_CHARACTERS = 300


class Result(NamedTuple):
    """How one test of the suite ended."""

    name: str
    passed: bool
    failure: str = ""

    @property
    def area(self) -> str:
        """The special interest group that owns the test."""
        found = AREA.search(self.name)
        return found.group(1) if found else "other"


def read(report: Path) -> list[Result]:
    """Return the results in a report of ginkgo (JUnit), without the tests that were not selected."""
    results = []
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "")
        if not KIND.match(name) or case.find("skipped") is not None:
            continue
        failed = case.find("failure") if case.find("error") is None else case.find("error")
        text = "" if failed is None else " ".join((failed.get("message") or "").split())
        results.append(Result(KIND.sub("", name), failed is None, text[:FAILURE_CHARACTERS]))
    return results


def latest(runs: Iterable[Iterable[Result]]) -> list[Result]:
    """Return one result for each test, sorted: the last one of those that were run again."""
    found: dict[str, Result] = {}
    for run in runs:
        for result in run:
            found[result.name] = result
    return sorted(found.values())


def table(results: Iterable[Result]) -> str:
    """Return the results by area as a table, and the tests that failed."""
    areas: dict[str, list[Result]] = {}
    for result in results:
        areas.setdefault(result.area, []).append(result)
    lines = ["| area | passed | of |", "|---|---|---|"]
    lines += [_row(area, of) for area, of in sorted(areas.items())]
    whole = [result for of in areas.values() for result in of]
    lines.append(_row("**all**", whole))
    failed = sorted(result.name for result in whole if not result.passed)
    if failed:
        lines += ["", "Failed:", "", *(f"- {name}" for name in failed)]
    return "\n".join(lines) + "\n"


def _row(area: str, results: list[Result]) -> str:
    return f"| {area} | {sum(result.passed for result in results)} | {len(results)} |"


def replaced(document: str, engine: str, versions: Mapping[str, str], rows: str) -> str:
    """Return the document with the table of a run in place of the former one with the same engine.

    A first run with an engine is added at the end.
    """
    mark = f"<!-- results: {engine} -->\n"
    if mark not in document:
        document = f"{document.rstrip()}\n\n## {engine}\n\n{mark}<!-- end of results -->\n"
    head, _, rest = document.partition(mark)
    _, _, tail = rest.partition("<!-- end of results -->\n")
    run = "".join(f"- {what}: {version}\n" for what, version in versions.items())
    return f"{head}{mark}{run}\n{rows}<!-- end of results -->\n{tail}"
