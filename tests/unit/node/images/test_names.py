"""Names of images."""

import pytest

from kubelite.node.images.names import find_name, full_name, is_image_id, parse_name
from kubelite.node.runtime import InvalidImageName

DIGEST = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    ("text", "registry", "path", "suffix"),
    [
        ("busybox", "docker.io", "library/busybox", ":latest"),
        ("library/busybox:1", "docker.io", "library/busybox", ":1"),
        ("index.docker.io/team/app", "docker.io", "team/app", ":latest"),
        ("registry.example.com/a/b", "registry.example.com", "a/b", ":latest"),
        ("localhost/a", "localhost", "a", ":latest"),
        ("host:5000/a:2", "host:5000", "a", ":2"),
        ("Host/a", "Host", "a", ":latest"),
        (f"busybox@{DIGEST}", "docker.io", "library/busybox", f"@{DIGEST}"),
        (f"r.io/a:1@{DIGEST}", "r.io", "a", f":1@{DIGEST}"),
    ],
)
def test_a_name_has_a_registry_a_path_and_a_suffix(
    text: str, registry: str, path: str, suffix: str
) -> None:
    name = parse_name(text)
    assert (name.registry, name.path, name.suffix) == (registry, path, suffix)
    assert name.full_repository == f"{registry}/{path}"


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a//b", "a:", "a@sha256:0", "a b", "0f" * 32, "a" * 256, "http://r.io/a"]
)
def test_other_texts_are_no_names(text: str) -> None:
    assert find_name(text) is None
    with pytest.raises(InvalidImageName, match="couldn't parse image name"):
        parse_name(text)


def test_ids_are_recognised() -> None:
    assert is_image_id(DIGEST)
    assert not is_image_id("0f" * 32)


def test_two_names_of_one_image_have_the_same_full_name() -> None:
    assert full_name("busybox") == full_name("docker.io/library/busybox:latest")
    assert full_name("busybox:1") != full_name("busybox")
    assert full_name("not a name") == "not a name"
