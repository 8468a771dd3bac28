"""DNS on the wire."""

import pytest

from kubelite.net.dns_wire import (
    BAD_VERSION,
    CNAME,
    FORMAT_ERROR,
    HEADER,
    NAME_ERROR,
    POINTERS_LIMIT,
    RECORD,
    SOA,
    A,
    Malformed,
    NameReader,
    ResourceRecord,
    age,
    build_error,
    build_response,
    encode_name,
    parse_name,
    parse_query,
    parse_response,
    read_name,
    truncate,
)
from unit.net.questions import question

WEB = parse_name("web.default.svc.cluster.local")


def test_a_question_is_read_in_lower_case_and_echoed_as_asked() -> None:
    query = parse_query(question("Web.Default.svc.cluster.local", keep_case=True))
    assert query.name == WEB
    assert query.record_type == A
    assert b"Web" in build_response(query, limit_bytes=512)
    assert not query.has_edns


@pytest.mark.parametrize(("said", "taken"), [(0, 512), (100, 512), (1000, 1000), (4096, 1232)])
def test_udp_sizes(said: int, taken: int) -> None:
    assert parse_query(question("a", edns_bytes=said)).udp_limit_bytes == taken


def record(number: int = 1) -> ResourceRecord:
    return ResourceRecord(WEB, A, bytes((10, 42, 0, number)), 5)


def test_a_response_reads_back() -> None:
    query = parse_query(question("web.default.svc.cluster.local", edns_bytes=1232))
    other = ResourceRecord(parse_name("other.local"), A, b"\1\2\3\4", 9)
    data = build_response(query, 0, [record(1), record(2)], [], [other], limit_bytes=512)
    response = parse_response(data)
    assert response.answers == (record(1), record(2))
    assert response.question == (WEB, A)
    assert response.ttl == 5
    assert len(response.ttl_offsets) == 3
    assert data.count(b"cluster") == 1  # names are not repeated


def test_truncation_drops_additionals_first() -> None:
    query = parse_query(question("web.default.svc.cluster.local"))
    many = [record(number) for number in range(200)]
    some = build_response(query, 0, many[:20], [], many, limit_bytes=512)
    assert HEADER.unpack_from(some)[3:] == (20, 0, 0)
    assert not parse_response(some).is_truncated


def test_truncation_keeps_the_records_that_fit_and_sets_tc() -> None:
    query = parse_query(question("web.default.svc.cluster.local", edns_bytes=512))
    many = [record(number) for number in range(200)]
    data = build_response(query, 0, many, [record(250)], [record(251)], limit_bytes=512)
    assert len(data) <= 512 < len(data) + 16  # one more record would not have fitted
    response = parse_response(data)
    assert response.is_truncated
    assert response.answers == tuple(many[: len(response.answers)])
    assert len(response.answers) == 28
    assert response.ttl == 0  # it is not kept
    assert HEADER.unpack_from(data)[3:] == (28, 0, 1)  # the additional is the OPT record


def test_truncation_cuts_authorities_after_answers() -> None:
    query = parse_query(question("web.default.svc.cluster.local"))
    many = [record(number) for number in range(200)]
    data = build_response(query, 0, many[:10], many, limit_bytes=512)
    answers, authorities = HEADER.unpack_from(data)[3:5]
    assert (answers, authorities) == (10, 19)
    assert parse_response(data).is_truncated


def test_answers_of_others_are_cut_between_two_records() -> None:
    query = parse_query(question("web.default.svc.cluster.local", edns_bytes=1232))
    many = [record(number) for number in range(200)]
    whole = build_response(query, 0, many, [record(250)], limit_bytes=65535)
    data = truncate(query, whole, 512)
    response = parse_response(data)
    assert len(data) <= 512
    assert response.is_truncated
    assert response.answers == tuple(many[:28])
    assert HEADER.unpack_from(data)[3:] == (28, 0, 1)


def test_extended_codes_stand_in_the_options() -> None:
    query = parse_query(question("a", edns_bytes=512))
    data = build_response(query, BAD_VERSION, limit_bytes=512)
    assert data[3] & 0xF == 0
    assert data[-6] == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 11,
        question("a")[:-1],
        HEADER.pack(1, 0x8000, 1, 0, 0, 0) + b"\0\0\1\0\1",
        HEADER.pack(1, 0, 2, 0, 0, 0) + b"\0\0\1\0\1",
        HEADER.pack(1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
        HEADER.pack(1, 0, 1, 0, 0, 0) + b"\xc0",
        HEADER.pack(1, 0, 1, 0, 0, 0) + b"\x40a\0\0\1\0\1",
        HEADER.pack(1, 0, 1, 0, 0, 0) + b"\x3f" + b"a" * 10,
        HEADER.pack(1, 0, 1, 0, 0, 0) + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",
        HEADER.pack(1, 0, 1, 0, 0, 1) + b"\0\0\1\0\1" + b"\0\0\x29",
    ],
)
def test_malformed_questions(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_query(data)


def test_pointers_lead_only_backwards() -> None:
    data = b"\1a\0\1b\xc0\0\1c\xc0\3"
    assert read_name(data, 7) == ((b"c", b"b", b"a"), 11)
    with pytest.raises(Malformed, match="forward"):
        read_name(b"\1a\xc0\0", 0)
    with pytest.raises(Malformed, match="forward"):
        read_name(b"\xc0\2\xc0\0", 2)


def test_errors_for_what_cannot_be_read() -> None:
    error = build_error(question("a")[:14], FORMAT_ERROR)
    assert error is not None
    assert HEADER.unpack(error) == (7, 0x8181, 0, 0, 0, 0)
    assert build_error(b"abc", FORMAT_ERROR) is None
    assert build_error(b"\0\0\x80" + bytes(9), FORMAT_ERROR) is None  # no answers to answers


def test_compressed_names_in_answers_are_written_out() -> None:
    query = question("a.example", CNAME)
    data = bytearray(query)
    data[2:4], data[6:8] = b"\x81\x80", b"\0\1"
    data += b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x0e"
    (found,) = parse_response(bytes(data)).answers
    assert found == ResourceRecord(
        parse_name("a.example"), CNAME, encode_name(parse_name("b.example")), 60
    )


def test_a_no_is_kept_as_long_as_its_authority_says() -> None:
    query = parse_query(question("missing.example"))
    soa = ResourceRecord(parse_name("example"), SOA, b"\0\0" + bytes(16) + b"\0\0\0\x0a", 300)
    response = parse_response(build_response(query, NAME_ERROR, (), [soa], limit_bytes=512))
    assert (response.code, response.ttl) == (NAME_ERROR, 10)
    assert parse_response(build_response(query, 2, (), [soa], limit_bytes=512)).ttl == 0


def test_kept_answers_age() -> None:
    query = parse_query(question("web.default.svc.cluster.local"))
    data = build_response(query, 0, [record()], limit_bytes=512)
    offsets = parse_response(data).ttl_offsets
    assert parse_response(age(data, offsets, 2)).answers[0].ttl == 3
    assert parse_response(age(data, offsets, 9)).answers[0].ttl == 0


def answers_to(target: int, names: bytes, count: int) -> bytes:
    """Write an answer: `names` stand in the first record's data, the owners of all others point at `target` in them."""
    first = question("a.example")[12:]
    head = HEADER.pack(7, 0x8180, 1, count + 1, 0, 0) + first
    data = head + b"\xc0\x0c" + RECORD.pack(A, 1, 60, len(names)) + names
    pointer = (0xC000 | (len(head) + 2 + RECORD.size + target)).to_bytes(2, "big")
    return data + (pointer + RECORD.pack(A, 1, 60, 4) + b"\1\2\3\4") * count


def pointer_chain(count: int, base: int = 0) -> bytes:
    """Write a name, a pointer to it, a pointer to that, and so on; `base` is where it will stand."""
    targets = [0, *range(3, 3 + 2 * (count - 1), 2)]
    return b"\1b\0" + b"".join((0xC000 | (base + at)).to_bytes(2, "big") for at in targets)


def steps_of(data: bytes) -> int:
    """Return how many labels and pointers are looked at to read all owners."""
    names, response = NameReader(data), parse_response(data)
    for offset in response.ttl_offsets:
        names.read(offset - 6)
    return names.steps


@pytest.mark.parametrize("count", [100, 1000, 4000])
def test_a_long_name_that_many_records_point_at_is_read_once(count: int) -> None:
    long = b"\1a" * 120 + b"\0"
    assert steps_of(answers_to(0, long, count)) <= 130 + count
    assert len(parse_response(answers_to(0, long, count)).answers) == count + 1


@pytest.mark.parametrize("count", [100, 1000, 4000])
def test_a_chain_of_pointers_is_followed_once(count: int) -> None:
    base = len(question("a.example")) + 2 + RECORD.size
    chain = b"\1b\0" + b"".join(
        (0xC000 | (base + max(0, 2 * number - 2 + 3) if number else 0xC000 | base)).to_bytes(
            2, "big"
        )
        for number in range(100)
    )
    data = answers_to(len(chain) - 2, chain, count)
    assert steps_of(data) <= 120 + count


def test_a_chain_of_more_pointers_than_a_name_has_labels_is_refused() -> None:
    chain = pointer_chain(POINTERS_LIMIT + 2)
    NameReader(chain).read(len(chain) - 8)
    with pytest.raises(Malformed, match="too many pointers"):
        NameReader(chain).read(len(chain) - 2)


def test_a_message_full_of_different_names_is_refused_in_the_end() -> None:
    names = NameReader((b"\1a" * 120 + b"\0") * 250)

    def read_all() -> None:
        for number in range(250):
            names.read(241 * number)

    with pytest.raises(Malformed, match="too many names"):
        read_all()
    assert names.steps < 20_100


def test_names_that_pointers_make_too_long_are_refused() -> None:
    data = b"\x3f" + b"a" * 63 + b"\0"
    for at in (0, 65, 131):
        data += b"\x3f" + b"b" * 63 + (0xC000 | at).to_bytes(2, "big")
    NameReader(data).read(131)
    with pytest.raises(Malformed, match="too long"):
        NameReader(data).read(197)


def test_what_stands_in_answers_is_read_only_when_asked_for() -> None:
    data = answers_to(0, b"\xff\xff", 1)
    response = parse_response(data)
    assert len(response.ttl_offsets) == 2
    with pytest.raises(Malformed):
        _ = response.answers
