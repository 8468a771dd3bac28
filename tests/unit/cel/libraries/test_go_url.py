"""URLs, read as Go 1.26 reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.machinery.shaping.addresses import is_request_uri
from kubelite.cel.libraries.go_url import Unreadable, Url, parse, parse_request


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty url"),
        ("rel", "invalid URI for request"),
        ("../rel", "invalid URI for request"),
        (":bad", "missing protocol scheme"),
        ("/a\x7f", "net/url: invalid control character in URL"),
        ("https://a b", 'invalid character " " in host name'),
        ("https://h:port/", 'invalid port ":port" after host'),
        ("https://a:b:c/", 'invalid port ":b:c" after host'),
        ("https://[::1", "missing ']' in host"),
        ("https://[1.2.3.4]/", "invalid IP-literal"),
        ("https://a[::1]/", "invalid IP-literal"),
        ("https://[x]/", 'invalid host: ParseAddr("x"): unable to parse IP'),
        ("https://[::1]x/", 'invalid port "x" after host'),
        ("https://u^@h/", "net/url: invalid userinfo"),
        ("https://h/%zz", 'invalid URL escape "%zz"'),
        ("https://h/%2", 'invalid URL escape "%2"'),
        ("https://h%41/", 'invalid URL escape "%41"'),
    ],
)
def test_what_is_no_url(text: str, problem: str) -> None:
    with pytest.raises(Unreadable) as failure:
        parse_request(text)
    shown = text.replace("\x7f", "\\x7f")
    assert str(failure.value) == f'parse "{shown}": {problem}'


@pytest.mark.parametrize(
    "text",
    [
        "https://user:pass@example.com:80/path?query=val#fragment",
        "/absolute-path",
        "https://[::1%25en0]:8080/",
        "mailto:x@y",
        "//host/x",
        "https://example.com?",
        "file:///etc/hosts",
        "/a%2fb",
        "*",
        "https://h/a%20b#c%20d",
    ],
)
def test_what_is_read_is_written_again(text: str) -> None:
    assert bytes(parse(text)).decode() == text


def test_parts() -> None:
    url = parse("HTTPS://u:p@[::1]:8443/a b/%2f?x#y")
    assert (url.scheme, url.host, url.user) == (b"https", b"[::1]:8443", b"u:p")
    assert url.host_and_port() == (b"::1", b"8443")
    assert url.escaped_path() == b"/a%20b//"
    assert parse("https://example.com").host_and_port() == (b"example.com", b"")


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("k1=a&k2=b&k2=c", {"k1": ["a"], "k2": ["b", "c"]}),
        ("key with spaces=v+w%2B", {"key with spaces": ["v w+"]}),
        ("a;b=c&d&&e=%zz&f=%ff", {"d": [""], "f": ["\ufffd"]}),
        ("", {}),
    ],
)
def test_query(query: str, values: dict[str, list[str]]) -> None:
    assert Url(query=query.encode()).query_values() == values


@given(st.text("ab:/@[]?#%41.-_ ", max_size=16))
def test_validation_of_objects_takes_the_same_urls(text: str) -> None:
    try:
        parse_request(text)
    except Unreadable:
        assert not is_request_uri(text)
    else:
        assert is_request_uri(text)
