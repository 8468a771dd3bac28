import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.auth.join_token import JoinToken, TokenMalformed, certificate_hash

HASH = "0123456789abcdef" * 4
SHORT = "abcdef.0123456789abcdef"
SECURE = f"K10{HASH}::{SHORT}"


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (SHORT, JoinToken(None, "abcdef", "0123456789abcdef")),
        (SECURE, JoinToken(HASH, "abcdef", "0123456789abcdef")),
        (f" {SECURE}\r\n", JoinToken(HASH, "abcdef", "0123456789abcdef")),
    ],
)
def test_both_forms_are_parsed_and_written(text: str, token: JoinToken) -> None:
    assert JoinToken.parse(text) == token
    assert str(token) == text.strip()
    assert token.bearer == SHORT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        (SECURE[:40], "cut off: the part after the hash"),
        (SECURE[:67], "cut off: the part after the hash"),
        (SECURE[:68], "cut off: the part after the hash"),
        (SECURE[:69], "no dot between its ID and its secret"),
        (SECURE[:75], "no dot between its ID and its secret"),
        (SECURE[:-1], "cut off: its secret has 15 of 16 characters"),
        (SHORT[:-3], "cut off: its secret has 13 of 16 characters"),
        (SECURE + "a", "its secret must have 16 lower-case letters or digits, and has 17"),
        (SECURE[4:], "its beginning is missing"),
        ("K2" + SECURE[3:], "a secure token begins with K10"),
        ("K11" + SECURE[3:], "a secure token begins with K10"),
        (SECURE.replace(HASH, HASH[1:]), "64 hexadecimal digits in lower case, and has 63"),
        (SECURE.replace(HASH, HASH.upper()), "64 hexadecimal digits in lower case, and has 64"),
        (SECURE.replace("abcdef.", "ABCDEF."), "its ID must have 6 lower-case letters"),
        (SECURE.replace("abcdef.", "abcde."), "its ID must have 6 lower-case letters"),
        (SHORT.upper(), "its ID must have 6 lower-case letters"),
        (f"{SHORT}\n{SHORT}", "white space or a line break"),
        ("a" * 5000, "more than 1024 characters"),
        ("K10" + HASH + "::server:0123456789abcdef", "no dot between"),
    ],
)
def test_what_is_no_token_is_refused_in_one_line_without_its_secret(text: str, reason: str) -> None:
    with pytest.raises(TokenMalformed, match=re.escape(reason)) as raised:
        JoinToken.parse(text)
    message = str(raised.value)
    assert message.startswith("cannot read the join token: ")
    assert "\n" not in message
    assert "0123456789" not in message


def test_a_form_for_logs_hides_the_secret() -> None:
    token = JoinToken.parse(SECURE)
    assert "0123456789abcdef" not in repr(token).replace(HASH, "")
    assert "abcdef" in repr(token)


def test_the_hash_is_of_the_whole_certificate() -> None:
    assert certificate_hash(b"DER") == hashlib.sha256(b"DER").hexdigest()


@given(st.text(max_size=120))
def test_any_text_is_a_token_that_writes_itself_or_is_malformed(text: str) -> None:
    try:
        token = JoinToken.parse(text)
    except TokenMalformed:
        return
    assert str(token) == text.strip()
