"""Header compression against the examples of RFC 7541, appendix C."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.grpc.hpack import (
    HeaderDecoder,
    HeadersTooLarge,
    MalformedHeaders,
    encode_headers,
)

# C.4: requests with Huffman coding, which share a dynamic table.
REQUESTS = [
    (
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ],
    ),
    (
        "828684be5886a8eb10649cbf",
        [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
            ("cache-control", "no-cache"),
        ],
    ),
    (
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ],
    ),
]


def test_the_examples_of_the_standard_decode() -> None:
    decoder = HeaderDecoder()
    for block, headers in REQUESTS:
        assert decoder.decode(bytes.fromhex(block)) == headers


@given(
    st.lists(st.tuples(st.text("abc-:", max_size=20), st.text(st.characters(max_codepoint=255))))
)
def test_what_is_encoded_decodes(headers: list[tuple[str, str]]) -> None:
    assert HeaderDecoder().decode(encode_headers(headers)) == headers


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_decode_or_are_refused(blocks: list[bytes]) -> None:
    decoder = HeaderDecoder()
    for block in blocks:
        try:
            decoder.decode(block)
        except MalformedHeaders:
            return


def test_a_small_block_that_becomes_large_is_refused() -> None:
    decoder = HeaderDecoder()
    value = bytes([0x7F, 0x80 | 0x21, 0x1E]) + b"v" * 4000  # 4,000 characters
    entry = b"\x40\x01n" + value
    decoder.decode(entry)
    with pytest.raises(HeadersTooLarge):
        decoder.decode(b"\xbe" * 1000)  # a byte for each time the entry is named


@pytest.mark.parametrize(
    "block",
    [
        "80",  # index 0
        "ff00",  # an index beyond the table
        "3fffffffff7f",  # an integer without an end
        "3fe21f",  # a table of more than 4,096 bytes
        "40",  # cut off
        "4003",
        "400a6b",
        "0081ff00",  # padding that is too long for the string
        "0084ffffffff00",  # EOS within
    ],
)
def test_what_is_malformed_is_refused(block: str) -> None:
    with pytest.raises(MalformedHeaders):
        HeaderDecoder().decode(bytes.fromhex(block))
