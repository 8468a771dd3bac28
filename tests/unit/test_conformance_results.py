"""Reports of the conformance suite become a table; `python -m conformance` runs the suite."""

from pathlib import Path

from conformance.results import Result, latest, read, replaced, table

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase name="[SynchronizedBeforeSuite]"/>
<testcase name="[It] [sig-apps] Job should run [Conformance]"/>
<testcase name="[It] [sig-node] Pods should stop [Conformance]"><failure message="timed&#xA;  out"/></testcase>
<testcase name="[It] [sig-node] Pods should start [Conformance]"><error message="panic"/></testcase>
<testcase name="[It] [sig-node] other"><skipped message="skipped"/></testcase>
</testsuite></testsuites>
"""


def test_a_report_names_what_ran_and_why_it_failed(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(REPORT)
    assert read(tmp_path / "junit.xml") == [
        Result("[sig-apps] Job should run [Conformance]", True),
        Result("[sig-node] Pods should stop [Conformance]", False, "timed out"),
        Result("[sig-node] Pods should start [Conformance]", False, "panic"),
    ]


def test_a_test_that_ran_twice_counts_by_its_last_run() -> None:
    first = [Result("[sig-b] x", False, "no"), Result("[sig-a] y", True)]
    assert latest([first, [Result("[sig-b] x", True)]]) == [
        Result("[sig-a] y", True),
        Result("[sig-b] x", True),
    ]


def test_the_table_counts_by_area_and_names_what_failed() -> None:
    ended = [Result("[sig-b] x", False), Result("[sig-a] y", True), Result("[sig-b] z", True)]
    assert table(ended) == (
        "| area | passed | of |\n|---|---|---|\n| a | 1 | 1 |\n| b | 1 | 2 |\n| **all** | 2 | 3 |\n\n"
        "Failed:\n\n- [sig-b] x\n"
    )


def test_only_the_results_of_the_engine_in_the_document_are_replaced() -> None:
    before = "head\n<!-- results: docker -->\nold\n<!-- end of results -->\ntail\n"
    after = replaced(before, "docker", {"suite": "v1"}, "new\n")
    whole = "<!-- results: docker -->\n- suite: v1\n\nnew\n<!-- end of results -->\n"
    assert after == f"head\n{whole}tail\n"
    assert replaced(after, "docker", {"suite": "v1"}, "new\n") == after


def test_the_first_results_of_an_engine_come_last() -> None:
    before = "head\n<!-- results: docker -->\nold\n<!-- end of results -->\ntail\n"
    after = replaced(before, "containerd", {"suite": "v1"}, "new\n")
    assert after == (
        f"{before}\n## containerd\n\n"
        "<!-- results: containerd -->\n- suite: v1\n\nnew\n<!-- end of results -->\n"
    )
    assert replaced(after, "containerd", {"suite": "v1"}, "new\n") == after
