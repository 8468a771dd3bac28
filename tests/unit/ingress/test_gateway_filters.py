"""Filters: what is refused, and what they make of requests and answers over sockets."""

from typing import Any

import msgspec
import pytest

from kubelite.ingress.gateway_filters import Unsupported, actions_of, seconds_of
from kubelite.ingress.gateway_objects import RouteRule
from kubelite.ingress.routes import (
    Backend,
    Edits,
    NewPath,
    Redirect,
    Rewrite,
    Route,
    Scope,
    Tables,
)
from unit.ingress.bed import KEY, bed, saying, sized


def rule(*filters: dict[str, Any], **more: Any) -> RouteRule:
    return msgspec.convert({"filters": list(filters), **more}, RouteRule)


def headers(kind: str, **more: Any) -> dict[str, Any]:
    field = kind[0].lower() + kind[1:]
    return {"type": kind, field: more}


@pytest.mark.parametrize(
    "change",
    [
        {"set": [{"name": "x", "value": "a\r\nEvil: 1"}]},
        {"add": [{"name": "x", "value": "a\nb"}]},
        {"add": [{"name": "x", "value": "a\0"}]},
        {"set": [{"name": "x\r\nEvil", "value": "a"}]},
        {"set": [{"name": "Host", "value": "a"}]},
        {"set": [{"name": "Content-Length", "value": "0"}]},
        {"add": [{"name": "transfer-encoding", "value": "chunked"}]},
        {"add": [{"name": "Transfer_Encoding", "value": "chunked"}]},
        {"remove": ["Content-Length"]},
        {"set": [{"name": "X-Forwarded-For", "value": "1.2.3.4"}]},
    ],
)
def test_headers_cannot_smuggle(change: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        actions_of(rule(headers("RequestHeaderModifier", **change)))


def test_the_answers_own_framing_cannot_be_changed() -> None:
    change = headers("ResponseHeaderModifier", remove=["Content-Length"])
    with pytest.raises(Unsupported):
        actions_of(rule(change))


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/a b", "/a%20b"),
        ("/a\r\nEvil: 1", "/a%0D%0AEvil:%201"),
        ("/a?b#c", "/a%3Fb%23c"),
        ("a", "/a"),
        ("//evil.example", "/evil.example"),
        ("/%7euser", "/%7euser"),
    ],
)
def test_a_path_is_escaped(path: str, written: str) -> None:
    new = {"type": "ReplaceFullPath", "replaceFullPath": path}
    found = actions_of(rule({"type": "URLRewrite", "urlRewrite": {"path": new}}))
    assert found.rewrite == Rewrite(path=NewPath(written))


@pytest.mark.parametrize(
    "change",
    [
        {"hostname": "a.x\r\nEvil: 1"},
        {"scheme": "ftp"},
        {"statusCode": 200},
        {"port": 70000},
        {"path": {"type": "Other"}},
    ],
)
def test_redirects_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        actions_of(rule({"type": "RequestRedirect", "requestRedirect": change}))


@pytest.mark.parametrize(
    ("timeouts", "seconds"),
    [
        ({}, 0.0),
        ({"request": "0s"}, 0.0),
        ({"request": "2s", "backendRequest": "500ms"}, 0.5),
        ({"request": "1h"}, 3600.0),
    ],
)
def test_timeouts(timeouts: dict[str, str], seconds: float) -> None:
    assert seconds_of(rule(timeouts=timeouts)) == seconds


GET = b"GET /one/two?q=1 HTTP/1.1\r\nHost: web.x\r\nX-Old: 1\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("new", "target"),
    [
        (NewPath("/full"), b"/full?q=1"),
        (NewPath("/new", is_prefix=True), b"/new/two?q=1"),
        (NewPath("/", is_prefix=True), b"/two?q=1"),
        (None, b"/one/two?q=1"),
    ],
)
async def test_a_rewrite_and_edits_reach_the_backend(new: NewPath | None, target: bytes) -> None:
    async with bed() as one:
        heads: list[bytes] = []
        answer = sized(b"hello", lines=(b"X-Secret: 1",))
        one.use(await one.backend(saying(answer, heads)))
        one.route(
            Route(
                owner="default/web",
                path="/one",
                backends=(Backend(KEY),),
                rewrite=Rewrite("other.x", new),
                request_edits=Edits(((b"x-new", b"2"),), ((b"X-More", b"3"),), (b"x-old",)),
                response_edits=Edits(removed=(b"x-secret",), added=((b"X-Seen", b"yes"),)),
            )
        )
        answer = await one.ask(GET)
    (head,) = heads
    assert head.startswith(b"GET " + target + b" HTTP/1.1\r\nHost: other.x\r\n")
    assert b"x-new: 2\r\nX-More: 3\r\n" in head
    assert b"X-Old" not in head
    assert b"X-Forwarded-Host: web.x\r\n" in head
    assert b"X-Secret" not in answer
    assert b"X-Seen: yes\r\n" in answer


@pytest.mark.parametrize(
    ("redirect", "status", "location"),
    [
        (Redirect(), b"302", b"http://web.x/one/two?q=1"),
        (Redirect(301, scheme="https"), b"301", b"https://web.x/one/two?q=1"),
        (Redirect(host="b.y", port=8080), b"302", b"http://b.y:8080/one/two?q=1"),
        (Redirect(scheme="https", port=443), b"302", b"https://web.x/one/two?q=1"),
        (Redirect(307, path=NewPath("/z")), b"307", b"http://web.x/z?q=1"),
        (Redirect(path=NewPath("/z", is_prefix=True)), b"302", b"http://web.x/z/two?q=1"),
    ],
)
async def test_redirects(redirect: Redirect, status: bytes, location: bytes) -> None:
    async with bed() as one:
        one.route(Route(owner="default/web", path="/one", redirect=redirect))
        answer = await one.ask(GET)
    assert answer.split()[1] == status
    assert b"\r\nLocation: " + location + b"\r\n" in answer


async def test_backends_share_requests_by_weight_and_those_that_are_none_answer_500() -> None:
    async with bed() as one:
        one.use(await one.backend(saying(sized(b""))))
        shares = Backend(KEY, 3), Backend("", 1), Backend(KEY, 0)
        one.route(Route(owner="default/web", backends=shares))
        statuses = [(await one.ask(GET)).split()[1] for _ in range(8)]
        assert sorted(statuses) == [b"200"] * 6 + [b"500"] * 2
        for none in ((), (Backend(KEY, 0),), (Backend(""),)):
            one.route(Route(owner="default/web", backends=none))
            assert (await one.ask(GET)).split()[1] == b"500"
        one.route(Route(owner="default/web", backends=(Backend("default/none:80"),)))
        assert (await one.ask(GET)).split()[1] == b"503"


def test_routes_of_a_listener_are_served_on_its_port_alone() -> None:
    own = Route(owner="default/web", port=80, scope="", redirect=Redirect())
    ingress = Route(owner="default/ingress", path="/i")
    extra = Route(owner="default/extra", port=8080, scope="", path="/e")
    tables = Tables((own, ingress, extra), (Scope(80), Scope(8080, is_extra=True)))

    def owner(port: int, path: str, *, is_extra: bool = False) -> str:
        found = tables.of(port, is_extra=is_extra).find("a.x", path)
        return found.owner if found is not None else ""

    assert (owner(80, "/"), owner(443, "/")) == ("default/web", "")
    assert (owner(80, "/i"), owner(443, "/i")) == ("default/ingress", "default/ingress")
    assert owner(8080, "/e", is_extra=True) == "default/extra"
    assert owner(8080, "/i", is_extra=True) == ""  # of Ingresses only on their own ports
    assert owner(9090, "/i", is_extra=True) == ""  # closed in this moment
