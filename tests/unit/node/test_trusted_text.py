"""Text of a pod that would break the line, path or setting it goes into."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.limits import EXEC_STRING, EXEC_TEXT
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.trusted_text import (
    ProcessTexts,
    address,
    host_name_text,
    one_line,
    path_name,
    variable_name,
    word,
)

Proof = Callable[[str, str], str]
ALL: list[Proof] = [address, host_name_text, one_line, path_name, variable_name, word]


@pytest.mark.parametrize(
    ("proof", "good"),
    [
        (one_line, ["", "a b", "ü", "/a//b"]),
        (path_name, ["a", "a b", "..a", "ü"]),
        (word, ["ndots:2", "a", "-._:/#"]),
        (host_name_text, ["a", "A.b-c_d", "_x"]),
        (address, ["10.0.0.1", "fd00::1", "010.0.0.1"]),
        (variable_name, ["A", "a.b-c", "1 x"]),
    ],
)
def test_what_is_good_is_returned(proof: Proof, good: list[str]) -> None:
    for text in good:
        assert proof(text, "x") == text


@pytest.mark.parametrize(
    ("proof", "bad"),
    [
        (path_name, ["", ".", "..", "a/b", "/"]),
        (word, ["", "a b", "ü", "a\tb"]),
        (host_name_text, ["", "a b", "-a", "a/b", "ü", "a."]),
        (address, ["", "a b", "localhost", "fe80::1%eth0"]),
        (variable_name, ["", "a=b", "ü"]),
    ],
)
def test_what_is_bad_is_named(proof: Proof, bad: list[str]) -> None:
    for text in bad:
        with pytest.raises(ConfigUnavailable, match="invalid hostname: "):
            proof(text, "hostname")


@given(
    st.sampled_from(ALL),
    st.text(),
    st.sampled_from("\n\r\0\t\x0b\x0c\x1b\x1c\x7f\x85\u2028\u2029"),
    st.text(),
)
def test_no_proof_lets_a_control_character_through(
    proof: Proof, before: str, control: str, after: str
) -> None:
    with pytest.raises(ConfigUnavailable) as failure:
        proof(before + control + after, "x")
    assert len(str(failure.value)) < 1500
    assert len(str(failure.value).splitlines()) == 1


@given(st.sampled_from(ALL), st.text())
def test_what_is_proved_is_one_line(proof: Proof, text: str) -> None:
    try:
        proved = proof(text, "x")
    except ConfigUnavailable:
        return
    assert len(f"a{proved}b".splitlines()) == 1


def test_texts_of_a_process_fit_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EXEC_STRING, "value", 10)
    monkeypatch.setattr(EXEC_TEXT, "value", 30)
    good = ProcessTexts("container")
    assert [good.take(text) for text in ("123456789", "ä" * 4, "x" * 9)]
    for texts in (["1234567890"], ["ä" * 5], ["x" * 9] * 4, ["a\0b"]):
        bad = ProcessTexts("container")
        with pytest.raises(ConfigUnavailable, match="invalid container"):
            [bad.take(text) for text in texts]
