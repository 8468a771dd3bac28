"""Pull secrets: which logins they have, and for which images."""

import base64
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.limits import MATCHED_LOGINS
from kubelite.node.images.logins import (
    LoginUnreadable,
    decode_auth,
    find_logins,
    logins_of,
    matches,
    place_of,
)
from kubelite.node.images.names import parse_name

CONFIG_JSON = "kubernetes.io/dockerconfigjson", ".dockerconfigjson"
CONFIG = "kubernetes.io/dockercfg", ".dockercfg"


def _secret(logins: object, form: tuple[str, str] = CONFIG_JSON, name: str = "pull") -> Secret:
    kind, key = form
    text = base64.b64encode(msgspec.json.encode(logins)).decode()
    meta = ObjectMeta(name=name, namespace="default", uid=f"uid-{name}")
    return Secret(metadata=meta, type=kind, data={key: text})


def _users(image: str, *secrets: Secret) -> list[str]:
    found = find_logins(parse_name(image), [logins_of(secret) for secret in secrets])
    return [login.username for login in found]


def test_logins_are_found_by_host() -> None:
    auth = base64.b64encode(b"me:secret:word").decode()
    secret = _secret(
        {
            "auths": {
                "https://index.docker.io/v1/": {"auth": auth},
                "r.example.com": {"username": "u"},
            }
        }
    )
    (found,) = find_logins(parse_name("busybox"), [logins_of(secret)])
    assert (found.username, found.password) == ("me", "secret:word")
    assert found.source is not None
    assert (found.source.uid, found.source.name) == ("uid-pull", "pull")
    assert _users("r.example.com/a/b:1", secret) == ["u"]
    assert _users("elsewhere.example.com/a", secret) == []


@pytest.mark.parametrize(
    ("place", "repository", "expected"),
    [
        ("r.example.com", "r.example.com/a/b", True),
        ("r.example.com/a", "r.example.com/a/b", True),
        ("r.example.com/a/c", "r.example.com/a/b", False),
        ("*.example.com", "r.example.com/a", True),
        ("*.example.com", "example.com/a", False),
        ("*.example.com", "a.r.example.com/a", False),
        ("*.*.example.com/a", "x.y.example.com/a/b", True),
        ("r?.example.com", "r1.example.com/a", True),
        ("r[^2].example.com", "r1.example.com/a", True),
        ("r[^1].example.com", "r1.example.com/a", False),
        ("r.example.com:5000", "r.example.com:5000/a", True),
        ("r.example.com:5000", "r.example.com/a", False),
        ("r.example.com:*", "r.example.com:5000/a", False),
        ("[::1]:5000", "[::1]:5000/a", True),
        ("*" * 300, "r/a", False),
        ("*a*b*c*", "xaxbxc/a", True),
        ("*a*b*c*", "xaxcxb/a", False),
        ("*-?[0-9].io", "r-x7.io/a", True),
        ("*-?[0-9].io", "r-x.io/a", False),
        ("r[", "r[/a", True),  # no class: itself
        (
            "*" + "a*" * 120 + "b",
            "a" * 250 + "/x",
            False,
        ),  # by no more than the product of both lengths
    ],
)
def test_a_place_matches_by_port_labels_and_path(
    place: str, repository: str, expected: bool
) -> None:
    assert matches(place, repository) is expected


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("https://index.docker.io/v1/", "index.docker.io"),
        ("https://registry-1.docker.io", "index.docker.io"),
        ("http://r.example.com/v2/team", "r.example.com/team"),
        ("r.example.com/", "r.example.com"),
        ("r.example.com/v1", "r.example.com/v1"),
    ],
)
def test_the_paths_of_the_apis_versions_stand_for_the_host(where: str, place: str) -> None:
    assert place_of(where) == place


def test_the_longest_place_comes_first_and_secrets_in_their_order() -> None:
    first = _secret({"auths": {"r.example.com": {"username": "host"}}}, name="first")
    second = _secret(
        {
            "auths": {
                "r.example.com/team": {"username": "team"},
                "r.example.com": {"username": "other"},
            }
        },
        name="second",
    )
    assert _users("r.example.com/team/app", first, second) == ["team", "host", "other"]


def test_docker_hub_is_matched_by_its_own_name_before_its_index() -> None:
    both = _secret(
        {
            "auths": {
                "docker.io/library": {"username": "by name"},
                "index.docker.io": {"username": "i"},
            }
        }
    )
    assert _users("busybox", both) == ["by name"]
    assert _users("team/app", both) == ["i"]


def test_the_older_form_has_no_auths() -> None:
    assert _users("r/a", _secret({"r": {"username": "u"}}, CONFIG)) == []  # r is no host
    assert _users("r.io/a", _secret({"r.io": {"username": "u"}}, CONFIG)) == ["u"]


def test_a_secret_of_another_type_has_no_logins() -> None:
    opaque = _secret({"auths": {"r.io": {"username": "u"}}}, ("Opaque", ".dockerconfigjson"))
    assert logins_of(opaque) == []


@pytest.mark.parametrize(
    "logins",
    [
        [],
        {"auths": []},
        {"auths": {"r": 3}},
        "text",
        {"auths": {"r": {"username": 3}}},
        {"auths": {"r": {"auth": "not base64"}}},
        {"auths": {"r": {"auth": base64.b64encode(b"no colon").decode()}}},
        {"auths": {"r": {"auth": base64.b64encode(b"\xff:a").decode()}}},
    ],
)
def test_what_is_no_docker_configuration_is_refused_without_its_content(logins: Any) -> None:
    with pytest.raises(LoginUnreadable, match="holds no Docker configuration") as raised:
        logins_of(_secret(logins))
    assert raised.value.__suppress_context__


def test_a_configuration_that_nests_without_end_is_refused() -> None:
    text = base64.b64encode(b'{"auths": {"r.io": ' + b"[" * 100_000).decode()
    with pytest.raises(LoginUnreadable):
        logins_of(Secret(type=CONFIG_JSON[0], data={CONFIG_JSON[1]: text}))


def test_a_configuration_without_logins_has_none() -> None:
    assert logins_of(_secret({"auths": None})) == logins_of(_secret({})) == []


def test_no_more_logins_are_matched_than_the_bound() -> None:
    places = {f"{number}.io": {"username": "u"} for number in range(MATCHED_LOGINS.value)}
    first = _secret({"auths": places})
    last = _secret({"auths": {"r.io": {"username": "last"}}}, name="last")
    reached = MATCHED_LOGINS.times_reached
    assert _users("r.io/a", first, last) == []
    assert MATCHED_LOGINS.times_reached == reached + 1
    assert _users("r.io/a", last, first) == ["last"]


def test_the_field_auth_may_lack_its_padding() -> None:
    assert decode_auth(base64.b64encode(b"ab:cde").decode().rstrip("=")) == ("ab", "cde")


def test_logins_are_told_apart_by_their_content() -> None:
    one, same, other = (
        logins_of(_secret({"auths": {"r.io": login}}, name=name))[0]
        for name, login in (
            ("a", {"username": "u", "password": "p"}),
            ("b", {"auth": base64.b64encode(b"u:p").decode()}),
            ("a", {"username": "u", "password": "q"}),
        )
    )
    assert one.hash == same.hash != other.hash
