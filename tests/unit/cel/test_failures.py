"""How issues are laid out."""

from kubelite.cel.failures import NOWHERE, CompileFailed, Issue, display


def test_an_issue_shows_its_line_and_a_caret() -> None:
    assert display("a +\n\tb", [Issue(5, "wrong")]) == ("ERROR: <input>:2:2: wrong\n |  b\n | .^")


def test_wide_characters_have_wide_dots() -> None:
    assert display("é+é", [Issue(2, "wrong")]) == (
        "ERROR: <input>:1:3: wrong\n | é+é\n | \uff0e.\uff3e"
    )


def test_an_issue_of_the_whole_shows_no_line() -> None:
    assert display("a", [Issue(NOWHERE, "too deep")]) == "ERROR: <input>:-1:0: too deep"
    assert display("", [Issue(0, "empty")]) == "ERROR: <input>:1:1: empty"


def test_a_long_line_is_not_shown() -> None:
    assert display("a" * 20_000, [Issue(3, "wrong")]) == "ERROR: <input>:1:4: wrong"


def test_past_a_hundred_issues_are_counted() -> None:
    failed = CompileFailed("a" * 150, [Issue(at, "wrong") for at in range(150)])
    assert str(failed).endswith("\n50 more errors were truncated")
    assert len(failed.issues) == 150
