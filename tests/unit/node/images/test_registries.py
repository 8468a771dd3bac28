"""registries.yaml: mirrors, rewrites, logins and TLS."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubelite.limits import REGISTRIES_FILE
from kubelite.node.images.names import parse_name
from kubelite.node.images.registries import (
    TLS,
    Registries,
    RegistriesInvalid,
    Rewrite,
    endpoint_of,
    insecure_hosts,
    limitations,
    parse_registries,
    read_registries,
)

EXAMPLE = """
mirrors:
  docker.io:
    endpoint: ["https://mirror.example.com:5000", "https://second.example.com/v2/hub"]
    rewrite: {"^library/(.*)": "hub/$1"}
  "*":
    endpoint: ["http://any.example.com"]
configs:
  "mirror.example.com:5000":
    auth: {username: u, password: p}
    tls: {ca_file: /ca, cert_file: /cert, key_file: /key}
  docker.io:
    auth: {auth: HUB}
  any.example.com:
    tls: {insecure_skip_verify: true}
""".replace("HUB", base64.b64encode(b"hub:secret").decode())


def _sources(registries: Registries, image: str) -> list[tuple[str, str, bool]]:
    return [
        (source.reference, source.login.username if source.login else "", source.is_mirror)
        for source in registries.sources(parse_name(image))
    ]


def test_mirrors_come_first_and_the_registry_last() -> None:
    registries = parse_registries(yaml.safe_load(EXAMPLE))
    assert _sources(registries, "busybox:1") == [
        ("mirror.example.com:5000/hub/busybox:1", "u", True),
        ("second.example.com/hub/hub/busybox:1", "", True),
        ("busybox:1", "hub", False),
    ]
    assert _sources(registries, "team/app")[0][0] == "mirror.example.com:5000/team/app:latest"


def test_a_registry_without_an_entry_has_the_mirrors_of_any() -> None:
    registries = parse_registries(yaml.safe_load(EXAMPLE))
    assert _sources(registries, "r.io/a@sha256:" + "0" * 64) == [
        ("any.example.com/a@sha256:" + "0" * 64, "", True),
        ("r.io/a@sha256:" + "0" * 64, "", False),
    ]


def test_the_registry_itself_is_left_out_when_it_is_disabled() -> None:
    registries = parse_registries(yaml.safe_load(EXAMPLE), has_default=False)
    assert [source[0] for source in _sources(registries, "r.io/a")] == ["any.example.com/a:latest"]
    # Where there is no mirror there is nothing else to try.
    assert [source[0] for source in _sources(Registries(has_default=False), "r.io/a")] == [
        "r.io/a:latest"
    ]


def test_an_endpoint_that_is_the_registry_itself_is_tried_once_in_its_place() -> None:
    registries = parse_registries({"mirrors": {"r.io": {"endpoint": ["r.io", "m.io"]}}})
    assert _sources(registries, "r.io/a") == [
        ("r.io/a:latest", "", False),
        ("m.io/a:latest", "", True),
    ]


@pytest.mark.parametrize(
    ("pattern", "replacement", "path", "expected"),
    [
        ("^rancher/(.*)", "mirror/rancher-images/$1", "rancher/k3s", "mirror/rancher-images/k3s"),
        ("(?P<who>[a-z]+)/", "${who}-x/", "a/b", "a-x/b"),
        ("a", "$9b", "a/a", "b/b"),
        ("a", "$$1", "a", "$1"),
        ("(a)|(b)", "${2}c", "a", "c"),
        ("^x", "y", "a", "a"),
    ],
)
def test_rewrites_replace_as_go_does(
    pattern: str, replacement: str, path: str, expected: str
) -> None:
    assert Rewrite(pattern, replacement).apply(path) == expected


def test_the_first_rewrite_that_changes_the_path_is_the_only_one() -> None:
    given = {"endpoint": ["m.io"], "rewrite": {"^x": "never", "^a": "b", "^b": "c"}}
    registries = parse_registries({"mirrors": {"r.io": given}})
    assert _sources(registries, "r.io/a")[0][0] == "m.io/b:latest"


def test_a_mirror_whose_rewrite_makes_no_name_is_passed_over() -> None:
    given = {"endpoint": ["m.io", "n.io"], "rewrite": {"^a": "-"}}
    registries = parse_registries({"mirrors": {"r.io": given}})
    assert [source[0] for source in _sources(registries, "r.io/a:1")] == ["r.io/a:1"]
    assert len(_sources(registries, "r.io/b:1")) == 3


@pytest.mark.parametrize(
    ("text", "url", "registry"),
    [
        ("m.io", "https://m.io/v2", "m.io"),
        ("localhost:5000", "http://localhost:5000/v2", "localhost:5000"),
        ("127.0.0.1:443", "https://127.0.0.1:443/v2", "127.0.0.1:443"),
        ("http://m.io:80/v2/", "http://m.io:80/v2", "m.io:80"),
        ("https://m.io/proxy/v2", "https://m.io/proxy/v2", "m.io"),
        ("docker.io", "https://registry-1.docker.io/v2", "docker.io"),
    ],
)
def test_addresses_of_endpoints_are_completed(text: str, url: str, registry: str) -> None:
    endpoint = endpoint_of(text, "here")
    assert (endpoint.url, endpoint.registry) == (url, registry)


def test_tls_and_logins_are_of_hosts() -> None:
    registries = parse_registries(yaml.safe_load(EXAMPLE))
    assert registries.config("mirror.example.com:5000").tls == TLS("/ca", "/cert", "/key")
    assert registries.config("any.example.com").tls.insecure_skip_verify
    hub = registries.config("docker.io").login
    assert hub is not None
    assert (hub.username, hub.password) == ("hub", "secret")
    any_host = parse_registries({"configs": {"*": {"auth": {"identity_token": "t"}}}})
    assert any_host.config("r.io").login is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "the file must hold keys and values"),
        ({"mirror": {}}, 'the file has an unknown key "mirror"'),
        ({"mirrors": {"a": {"endpoints": []}}}, 'mirrors.a has an unknown key "endpoints"'),
        ({"mirrors": {"a": {"endpoint": "m.io"}}}, "mirrors.a.endpoint must be a list of texts"),
        (
            {"mirrors": {"a": {"endpoint": ["ftp://m"]}}},
            "mirrors.a.endpoint has an invalid address",
        ),
        ({"mirrors": {"a": {"endpoint": ["https://u:p@m"]}}}, "invalid address"),
        ({"mirrors": {"a": {"endpoint": ["m:port"]}}}, "invalid address"),
        ({"mirrors": {"a": {"rewrite": {"(": "b"}}}}, 'invalid pattern "("'),
        ({"mirrors": {1: {}}}, "mirrors must hold keys and values"),
        ({"configs": {"a": {"auth": {"username": 1}}}}, "configs.a.auth.username must be a text"),
        ({"configs": {"a": {"auth": {"auth": "x"}}}}, "configs.a.auth.auth must be base64"),
        ({"configs": {"a": {"tls": {"insecure_skip_verify": 1}}}}, "must be true or false"),
    ],
)
def test_what_cannot_be_used_is_named(content: Any, message: str) -> None:
    with pytest.raises(RegistriesInvalid, match=re.escape(message)):
        parse_registries(content)


def test_what_an_engine_does_not_do_by_names_is_said() -> None:
    registries = parse_registries(
        {
            "mirrors": {
                "r.io": {"endpoint": ["https://m.io/proxy/v2", "https://m.io/v2/hub"]},
                "q.io": {"endpoint": ["http://m.io:80", "http://127.0.0.1:5000", "http://[::1]:1"]},
            },
            "configs": {
                "m.io": {"tls": {"ca_file": "/ca"}},
                "n.io": {"tls": {"insecure_skip_verify": True}},
                "r.io": {"auth": {"username": "u"}},
            },
        }
    )
    assert insecure_hosts(registries) == ["m.io:80", "n.io"]
    certificates, *insecure, endpoint = limitations(registries)
    assert certificates.startswith("tls of m.io: ")
    assert [text.partition(" ")[0] for text in insecure] == ["m.io:80", "n.io"]
    assert endpoint.startswith("endpoint https://m.io/proxy/v2 of r.io: ")
    assert [source[0] for source in _sources(registries, "r.io/a")] == [
        "m.io/hub/a:latest",
        "r.io/a:latest",
    ]


def test_no_file_means_nothing_special(tmp_path: Path) -> None:
    assert read_registries(tmp_path / "registries.yaml") == Registries()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"mirrors: [", "cannot read"),
        (b"\xff\xfe\xfd", "cannot read"),
        (b"[" * 5000, "cannot read"),
        (b"mirrors: 3", "cannot use"),
        (b"#" * (REGISTRIES_FILE.value + 1), "too large"),
    ],
)
def test_the_file_is_named_when_it_cannot_be_used(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "registries.yaml"
    path.write_bytes(content)
    with pytest.raises(RegistriesInvalid) as raised:
        read_registries(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
