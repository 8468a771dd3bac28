import threading
from collections.abc import Iterator

from kubelite.doctor import examination
from kubelite.doctor.examination import SUBJECTS, Examined, Host, Subject, gather, judge, worst
from kubelite.doctor.findings import Finding, Level, error, note, ok
from kubelite.doctor.wanted import Wanted
from unit.doctor.hosts import SERVER


def nothing(_facts: object, _wanted: Wanted) -> Iterator[Finding]:
    yield ok("seen")


def test_a_look_that_hangs_or_fails_does_not_keep_the_others() -> None:
    held = threading.Event()

    def hang(_: Wanted) -> object:
        return held.wait(30)

    def fail(_: Wanted) -> object:
        raise PermissionError(13, "not\nfor you")

    subjects = [
        Subject(name, look, nothing) for name, look in (("a", hang), ("b", fail), ("c", repr))
    ]
    host = gather(SERVER, subjects, 0.3)
    held.set()
    assert host.hangs
    assert host.facts["a"] == "it took longer than 0.3 s"
    assert host.facts["b"] == "PermissionError: [Errno 13] not for you"
    assert host.facts["c"] == repr(SERVER)


def test_looks_go_on_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=20)
    subjects = [Subject(name, lambda _: meeting.wait(), nothing) for name in "abc"]
    host = gather(SERVER, subjects, 20)
    assert sorted(host.facts.values()) == [0, 1, 2]
    assert not host.hangs


def test_what_could_not_be_seen_is_said() -> None:
    examined = judge(Host({"kernel": "it took longer than 10 s"}), SERVER)
    assert [one.subject for one in examined] == [one.name for one in SUBJECTS]
    assert examined[0].findings[0].what == "not examined: kernel: it took longer than 10 s"
    assert worst(examined) is Level.NOTE


def test_the_worst_level_counts() -> None:
    def of(*findings: Finding) -> Level:
        return worst([Examined("one", findings)])

    assert of() is Level.OK
    assert of(error("x", "y", "z"), ok("x"), note("x")) is Level.ERROR
    assert of(ok("x"), note("x")) is Level.NOTE


def test_names_of_subjects_are_unique() -> None:
    names = [one.name for one in examination.SUBJECTS]
    assert len(set(names)) == len(names)
