"""Whatever bytes come, they are read in bounded time or refused; what is written reads back."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from unit.net.questions import question

from kubelite.net.dns_wire import (
    HEADER,
    A,
    Malformed,
    Record,
    build_response,
    parse_query,
    parse_response,
)

labels = st.binary(min_size=1, max_size=63).map(bytes.lower)
names = st.lists(labels, max_size=3).map(tuple)
records = st.builds(
    Record, names, st.just(A), st.binary(min_size=4, max_size=4), st.integers(0, 1000)
)


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (parse_query, parse_response):
        with suppress(Malformed):
            read(data)


@given(st.binary(max_size=100), st.integers(0, 3), st.integers(0, 3))
def test_any_body_below_a_sound_header_is_read_or_refused(
    body: bytes, answers: int, more: int
) -> None:
    with suppress(Malformed):
        parse_query(HEADER.pack(1, 0, 1, 0, 0, more) + body)
    with suppress(Malformed):
        parse_response(HEADER.pack(1, 0x8000, 1, answers, 0, more) + body)


@given(st.lists(records, max_size=5), st.lists(records, max_size=3), st.sampled_from([0, 1232]))
def test_what_is_written_reads_back(answers: list[Record], extra: list[Record], edns: int) -> None:
    query = parse_query(question("web.default.svc", edns_bytes=edns))
    response = parse_response(build_response(query, 0, answers, (), extra, limit_bytes=65535))
    assert response.answers == tuple(answers)
    assert len(response.ttl_offsets) == len(answers) + len(extra)


@given(st.lists(records, max_size=30), st.lists(records, max_size=30), st.sampled_from([512, 1232]))
def test_no_answer_is_longer_than_its_limit(
    answers: list[Record], extra: list[Record], limit: int
) -> None:
    query = parse_query(question("web.default.svc", edns_bytes=1232))
    assert len(build_response(query, 0, answers, (), extra, limit_bytes=limit)) <= limit
