"""Pull secrets."""

import base64

import msgspec
import pytest

from kubelite.api.kinds.core.config import Secret
from kubelite.node.images import credentials_in, registry_of


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("busybox", "docker.io"),
        ("library/busybox:1", "docker.io"),
        ("registry.example.com/a/b", "registry.example.com"),
        ("localhost/a", "localhost"),
        ("host:5000/a", "host:5000"),
    ],
)
def test_registry_of(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def _secret(logins: object, key: str = ".dockerconfigjson") -> Secret:
    return Secret(data={key: base64.b64encode(msgspec.json.encode(logins)).decode()})


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
    found = credentials_in(secret, "docker.io")
    assert found is not None
    assert (found.username, found.password) == ("me", "secret:word")
    other = credentials_in(secret, "r.example.com")
    assert other is not None
    assert other.username == "u"
    assert credentials_in(secret, "elsewhere.example.com") is None


@pytest.mark.parametrize("logins", [[], {"auths": []}, {"auths": {"r": 3}}, "text"])
def test_what_cannot_be_read_is_no_login(logins: object) -> None:
    assert credentials_in(_secret(logins), "r") is None
