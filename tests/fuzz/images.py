"""Fuzz targets of images: names that pods write, and logins that Secrets hold."""

import base64
from contextlib import suppress

from fuzz.target import Target, pure
from kubelite.api.kinds.core.config import Secret
from kubelite.node.images.logins import LoginUnreadable, find_logins, logins_of
from kubelite.node.images.names import find_name, full_name, parse_name
from kubelite.node.images.registries import Rewrite, parse_registries

IMAGES = ("busybox", "r1.io/team/app:1", "a.example.com:5000/team/app", "[::1]:5000/a")
MIRRORED = parse_registries(
    {"mirrors": {"*": {"endpoint": ["m.io/v2/hub"], "rewrite": {"^a(.*)": "b/$1"}}}}
)


def check_pull_secret(data: bytes) -> None:
    """A Secret has logins or is refused; what matches an image is a login of it, and says no more than it held."""
    text = base64.b64encode(data).decode()
    secret = Secret(type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": text})
    with suppress(LoginUnreadable):
        logins = logins_of(secret)
        for image in IMAGES:
            found = find_logins(parse_name(image), [logins, logins])
            assert set(found) <= set(logins)
            assert len(found) == len(set(found))
            assert all(login.hash and login.credentials("r.io").server == "r.io" for login in found)


def check_image_name(data: bytes) -> None:
    """A name has parts that make it up again, its full name stands for itself, and each source of it is a name."""
    text = data.decode("latin-1")
    name = find_name(text)
    if name is None:
        return
    tag, digest = f":{name.tag}" if name.tag else "", f"@{name.digest}" if name.digest else ""
    assert name.repository + tag + digest == text
    assert full_name(name.full) == name.full
    assert Rewrite("(.)", "$1").apply(name.path) == name.path
    for source in MIRRORED.sources(name):
        assert find_name(source.reference) is not None


TARGETS = (
    Target("pull-secret", pure(check_pull_secret), is_json=True),
    Target("image-name", pure(check_image_name)),
)
