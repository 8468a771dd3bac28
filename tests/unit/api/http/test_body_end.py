"""Where the body of an answer ends, however its bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.http.body_end import LINE_BYTES_MAX, BodyEnd

CHUNKED = [("Transfer-Encoding", "chunked")]


def taken(body: BodyEnd, data: bytes, cuts: list[int]) -> bytes:
    whole, start = b"", 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        if not body.ended and cut > start:
            whole += body.take(data[start:cut])
        start = cut
    return whole


@pytest.mark.parametrize(
    ("headers", "data", "kept", "ended"),
    [
        ([("Content-Length", "5")], b"hello and more", b"hello", True),
        ([("content-length", "5")], b"hell", b"hell", False),
        ([("Content-Length", "5"), ("Content-Length", "5")], b"hello!", b"hello", True),
        ([("Content-Length", "5"), ("Content-Length", "6")], b"hello and", b"hello and", False),
        ([("Content-Length", "-5")], b"hello", b"hello", False),
        ([("Content-Length", "+5")], b"hello and", b"hello and", False),
        ([], b"hello", b"hello", False),
        (CHUNKED, b"5\r\nhello\r\n0\r\n\r\nmore", b"5\r\nhello\r\n0\r\n\r\n", True),
        (CHUNKED, b"5;a=b\r\nhello\r\n00\r\nT: x\r\n\r\nm", b"5;a=b\r\nhello\r\n00\r\nT: x\r\n\r\n", True),
        (CHUNKED, b"5\r\nhello\r\n", b"5\r\nhello\r\n", False),
        (CHUNKED, b"zz\r\nhello\r\n0\r\n\r\n", b"zz\r\nhello\r\n0\r\n\r\n", False),
        (CHUNKED, b"-1\r\nhello", b"-1\r\nhello", False),
        ([*CHUNKED, ("Content-Length", "1")], b"0\r\n\r\nmore", b"0\r\n\r\n", True),
        ([("Transfer-Encoding", "gzip"), ("Content-Length", "1")], b"ab", b"ab", False),
    ],
)  # fmt: skip
@given(cuts=st.lists(st.integers(0, 50), max_size=6))
def test_a_body_ends_where_its_framing_says(
    headers: list[tuple[str, str]], data: bytes, kept: bytes, ended: bool, cuts: list[int]
) -> None:
    body = BodyEnd("GET", 200, headers)
    assert taken(body, data, cuts) == kept
    assert body.ended is ended


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_some_answers_have_no_body(method: str, status: int) -> None:
    assert BodyEnd(method, status, [("Content-Length", "5")]).ended
    assert BodyEnd("GET", 200, [("Content-Length", "0")]).ended


def test_a_line_without_end_is_not_kept() -> None:
    body = BodyEnd("GET", 200, CHUNKED)
    for _ in range(100):
        assert body.take(b"1" * 1000) == b"1" * 1000
    assert len(body._line) <= LINE_BYTES_MAX + 1000
