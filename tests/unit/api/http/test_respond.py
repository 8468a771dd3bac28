"""Answers and their headers."""

import asyncio
import gzip
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from kubelite.api.errors import NotFound, TooManyRequests, Unauthorized
from kubelite.api.http.negotiation import Media
from kubelite.api.http.respond import (
    INLINE_GZIP_BYTES_MAX,
    INLINE_YAML_BYTES_MAX,
    accepts_gzip,
    compressed,
    error_reply,
    list_body,
    object_reply,
    warning_headers,
)
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
        body
        == b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[{},{}]}'
    )


async def test_pretty_and_yaml() -> None:
    pretty = await object_reply(b'{"a":[1]}', Media(pretty=True))
    assert pretty.body == b'{\n  "a": [\n    1\n  ]\n}\n'
    assert (await object_reply(b'{"a":[1]}', Media(encoding="yaml"))).body == b"a:\n- 1\n"


async def test_a_long_yaml_does_not_hold_the_loop() -> None:
    threads = []

    class Threads(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
            threads.append(arguments[0])
            return super().submit(*arguments, **named)

    asyncio.get_running_loop().set_default_executor(Threads(1))
    body = b"[" + b",".join([b'"long"'] * INLINE_YAML_BYTES_MAX) + b"]"
    reply = await object_reply(body, Media(encoding="yaml"))
    assert reply.body == b"- long\n" * INLINE_YAML_BYTES_MAX
    assert len(threads) == 1
    assert (await object_reply(body)).body is body
    assert len(threads) == 1


@pytest.mark.parametrize("size", [1000, INLINE_GZIP_BYTES_MAX + 1])
async def test_compression(size: int) -> None:
    assert gzip.decompress(await compressed(b"x" * size)) == b"x" * size


@pytest.mark.parametrize(
    ("header", "accepted"), [("", False), ("gzip", True), ("br, gzip", True), ("xgzip", False)]
)
def test_who_takes_gzip(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
