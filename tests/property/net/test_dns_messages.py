"""Whatever bytes come, they are read in bounded time or refused; what is written reads back."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from unit.net.questions import question

from kubelite.net.dns_wire import (
    CNAME,
    HEADER,
    RECORD,
    A,
    Malformed,
    Name,
    NameReader,
    ResourceRecord,
    build_response,
    encode_name,
    parse_query,
    parse_response,
    truncate,
)

labels = st.binary(min_size=1, max_size=63).map(bytes.lower)
names = st.lists(labels, max_size=3).map(tuple)
records = st.builds(
    ResourceRecord, names, st.just(A), st.binary(min_size=4, max_size=4), st.integers(0, 1000)
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
def test_what_is_written_reads_back(
    answers: list[ResourceRecord], extra: list[ResourceRecord], edns: int
) -> None:
    query = parse_query(question("web.default.svc", edns_bytes=edns))
    response = parse_response(build_response(query, 0, answers, (), extra, limit_bytes=65535))
    assert response.answers == tuple(answers)
    assert len(response.ttl_offsets) == len(answers) + len(extra)


@given(st.lists(records, max_size=30), st.lists(records, max_size=30), st.sampled_from([512, 1232]))
def test_no_answer_is_longer_than_its_limit(
    answers: list[ResourceRecord], extra: list[ResourceRecord], limit: int
) -> None:
    query = parse_query(question("web.default.svc", edns_bytes=1232))
    data = build_response(query, 0, answers, (), extra, limit_bytes=limit)
    assert len(data) <= limit
    response = parse_response(data)
    assert response.answers == tuple(answers[: len(response.answers)])
    assert response.is_truncated == (len(response.answers) < len(answers))


@given(st.lists(records, max_size=30), st.lists(records, max_size=30), st.sampled_from([512, 1232]))
def test_answers_of_others_stay_readable_when_they_are_cut(
    answers: list[ResourceRecord], extra: list[ResourceRecord], limit: int
) -> None:
    query = parse_query(question("web.default.svc", edns_bytes=1232))
    data = truncate(query, build_response(query, 0, answers, (), extra, limit_bytes=65535), limit)
    assert len(data) <= limit
    response = parse_response(data)
    assert response.is_truncated
    assert response.answers == tuple(answers[: len(response.answers)])


class Compressor:
    """Writes names as other servers do: each suffix that was written before becomes a pointer, if `chances` say so."""

    def __init__(self, head: bytes, chances: list[bool]) -> None:
        self.data = bytearray(head)
        self._chances = chances
        self._written: dict[Name, int] = {}

    def name(self, labels: Name) -> None:
        for number in range(len(labels)):
            suffix = labels[number:]
            at = self._written.get(suffix)
            if at is not None and self._chances and self._chances.pop():
                self.data += (0xC000 | at).to_bytes(2, "big")
                return
            if len(self.data) < 0x4000:
                self._written.setdefault(suffix, len(self.data))
            self.data += bytes((len(labels[number]),)) + labels[number]
        self.data.append(0)


few_labels = st.sampled_from([b"a", b"b", b"example", b"x" * 63])
few_names = (
    st.lists(few_labels, max_size=4).map(tuple).filter(lambda one: len(encode_name(one)) < 255)
)


@given(st.lists(st.tuples(few_names, few_names), max_size=20), st.lists(st.booleans(), max_size=60))
def test_compressed_names_read_as_they_were_written(
    pairs: list[tuple[Name, Name]], chances: list[bool]
) -> None:
    head = HEADER.pack(1, 0x8180, 1, len(pairs), 0, 0) + question("a.example")[12:]
    message = Compressor(head, chances)
    for owner, target in pairs:
        message.name(owner)
        message.data += RECORD.pack(CNAME, 1, 5, 0)
        start = len(message.data)
        message.name(target)
        message.data[start - 2 : start] = (len(message.data) - start).to_bytes(2, "big")
    read = parse_response(bytes(message.data)).answers
    assert [(one.name, one.data) for one in read] == [
        (owner, encode_name(target)) for owner, target in pairs
    ]


# Bytes of which many are pointers, labels of one letter, and ends of names.
twisted = st.lists(
    st.one_of(
        st.integers(0, 400).map(lambda at: (0xC000 | at).to_bytes(2, "big")),
        st.sampled_from([b"\1a", b"\0", b"\2bc", b"\x3f", b"\x80"]),
    ),
    max_size=200,
).map(b"".join)


@given(twisted)
def test_no_message_makes_its_names_cost_more_than_its_bytes(data: bytes) -> None:
    names = NameReader(data)
    read = 0
    for offset in range(len(data)):
        with suppress(Malformed):
            name, written, end = names.read(offset)
            assert written == encode_name(name)
            assert len(written) <= 255
            assert offset < end <= len(data)
            read += 1
    again = names.steps
    for offset in range(len(data)):
        with suppress(Malformed):
            assert names.read(offset)
    # Whatever was read is known: only what is refused is looked at once more.
    assert names.steps <= 2 * again
    if read == len(data):
        assert names.steps == again
