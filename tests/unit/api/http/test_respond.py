"""Answers and their headers."""

import gzip

import pytest
from fakes.recording_offload import RecordingOffload

from kubelite.api.errors import NotFound, TooManyRequests, Unauthorized
from kubelite.api.http.negotiation import PLAIN_JSON, Media
from kubelite.api.http.respond import (
    accepts_gzip,
    compressed,
    error_reply,
    list_body,
    object_reply,
    rendered,
    warning_headers,
)
from kubelite.api.http.wire import Pieces, whole
from kubelite.api.registry.answers import Listed


def test_errors_carry_their_headers() -> None:
    assert error_reply(TooManyRequests("x", retry_after_seconds=2)).headers == {"Retry-After": "2"}
    assert "WWW-Authenticate" in (error_reply(Unauthorized("x")).headers or {})
    assert error_reply(NotFound("x"), Media(encoding="yaml")).body.startswith(b"apiVersion: v1\n")


def test_warnings_cannot_end_the_header() -> None:
    assert warning_headers(['a "b"\r\nSet-Cookie: c\\']) == ['299 - "a \\"b\\"  Set-Cookie: c\\\\"']


def test_a_warning_is_given_once_and_whole_while_all_fit() -> None:
    assert warning_headers(["a", "", "b", "a"]) == ['299 - "a"', '299 - "b"']
    assert warning_headers(["x" * 4096]) == [f'299 - "{"x" * 4096}"']


def test_too_many_warnings_are_cut_and_the_last_left_out() -> None:
    assert warning_headers(["x" * 10_000]) == [f'299 - "{"x" * 256}"']
    many = warning_headers(f"{n:04}" + "x" * 1000 for n in range(1000))
    assert [value[7:11] for value in many] == [f"{n:04}" for n in range(16)]
    assert {len(value) for value in many} == {256 + len('299 - ""')}


def test_lists() -> None:
    body = list_body("v1", "PodList", Listed(items=[b"{}", b"{}"], resource_version="5"))
    assert (
        whole(body)
        == b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[{},{}]}'
    )


async def test_pretty_and_yaml() -> None:
    pretty = await object_reply(b'{"a":[1]}', Media(pretty=True), RecordingOffload())
    assert pretty.body == b'{\n  "a": [\n    1\n  ]\n}\n'
    assert (
        await object_reply(b'{"a":[1]}', Media(encoding="yaml"), RecordingOffload())
    ).body == b"a:\n- 1\n"


@pytest.mark.parametrize(
    ("media", "size", "leaves"),
    [
        (Media(encoding="yaml"), 1000, False),
        (Media(encoding="yaml"), 20_000, True),
        (Media(pretty=True), 100_000, False),
        (Media(pretty=True), 5_000_000, True),
        (PLAIN_JSON, 5_000_000, False),
    ],
)
async def test_long_encodings_leave_the_loop(media: Media, size: int, leaves: bool) -> None:
    offload = RecordingOffload()
    body = b'["' + b"x" * size + b'"]'
    reply = await object_reply(body, media, offload)
    assert (offload.hops == 1) is leaves
    if media == PLAIN_JSON:
        assert reply.body is body
    else:
        assert b"x" * size in reply.body


async def test_a_list_is_put_together_when_it_is_written() -> None:
    listed = Listed([b"1", b"2"], "9")
    pieces = list_body("v1", "ConfigMapList", listed)
    reply = await object_reply(pieces, PLAIN_JSON, RecordingOffload())
    assert reply.content is pieces
    assert whole(pieces).endswith(b'"items":[1,2]}')


@pytest.mark.parametrize("items", [[], [b"{}"], [b'{"b":[1,{"c":"x\\ny"}],"a":{}}', b'{"a":"b"}']])
@pytest.mark.parametrize("media", [Media(encoding="yaml"), Media(pretty=True)])
async def test_a_list_is_encoded_item_by_item_as_it_would_be_in_one_piece(
    media: Media, items: list[bytes]
) -> None:
    pieces = list_body("v1", "ConfigMapList", Listed(items, "9"))
    reply = await object_reply(pieces, media, RecordingOffload())
    assert whole(reply.content) == rendered(whole(pieces), media)
    assert len(reply.content) == len(whole(reply.content))


@pytest.mark.parametrize(("size", "leaves"), [(1000, False), (1_000_000, True)])
async def test_compression(size: int, leaves: bool) -> None:
    offload = RecordingOffload()
    assert gzip.decompress(await compressed(b"x" * size, offload)) == b"x" * size
    pieces = Pieces(b"[", [b"y" * size, b"z"], b"]")
    assert gzip.decompress(await compressed(pieces, offload)) == whole(pieces)
    assert offload.hops == 2 * leaves


@pytest.mark.parametrize(
    ("header", "accepted"), [("", False), ("gzip", True), ("br, gzip", True), ("xgzip", False)]
)
def test_who_takes_gzip(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
