import io

import pytest

from kubelite.terminal import ERASE, StatusLine, in_line, is_terminal


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_stays_at_the_bottom_while_others_are_written() -> None:
    screen = Screen()
    line = StatusLine(lambda: screen)
    line.show("half")
    with line.above():
        screen.write("an entry\n")
    line.say("said")
    line.show("")
    assert screen.getvalue().split(ERASE) == ["", "half", "an entry\nhalf", "said\nhalf", ""]


def test_the_same_text_is_not_written_again() -> None:
    screen = Screen()
    line = StatusLine(lambda: screen)
    line.show("half")
    line.show("half")
    assert screen.getvalue() == ERASE + "half"


def test_without_a_line_nothing_is_added() -> None:
    screen = Screen()
    with StatusLine(lambda: screen).above():
        screen.write("an entry\n")
    assert screen.getvalue() == "an entry\n"


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_stream_that_is_gone_is_given_up(stream: io.StringIO | None) -> None:
    if stream is not None:
        stream.close()
    line = StatusLine(lambda: stream)
    line.show("half")
    line.say("said")
    assert not is_terminal(stream)


@pytest.mark.parametrize(
    "hostile", ["\x1b[2Jgone", "one\ntwo", "\x9b31m", "\u202eright to left", "\udcff", "\x7f"]
)
def test_text_of_others_is_one_printable_line(hostile: str) -> None:
    assert in_line(hostile).isprintable()
    screen = Screen()
    StatusLine(lambda: screen).show(hostile)
    assert screen.getvalue().removeprefix(ERASE).isprintable()


@pytest.mark.parametrize(("term", "is_one"), [("xterm", True), ("dumb", False), (None, False)])
def test_a_terminal_that_cannot_erase_counts_as_none(
    term: str | None, is_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert is_terminal(Screen()) is is_one
    assert not is_terminal(io.StringIO())
