"""Reads names of images by the grammar of distribution/reference. Pure."""

import re

from msgspec import Struct

from kubelite.node.runtime import InvalidImageName

DOCKER_HUB = "docker.io"
OFFICIAL = "library/"  # where Docker Hub keeps an image whose name has no slash
DEFAULT_TAG = "latest"
REPOSITORY_LENGTH_MAX = 255  # as distribution/reference
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_BARE_ID = re.compile(r"[0-9a-f]{64}")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<repository>(?:(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


class ImageName(Struct, frozen=True):
    """The parts of an image's name."""

    repository: str  # as written
    tag: str = ""
    digest: str = ""

    @property
    def registry(self) -> str:
        """The host, with its port, docker.io when the name has none."""
        first, slash, _ = self.repository.partition("/")
        if slash and _is_host(first):
            return DOCKER_HUB if first == "index.docker.io" else first
        return DOCKER_HUB

    @property
    def path(self) -> str:
        """The repository within its registry."""
        first, slash, rest = self.repository.partition("/")
        path = rest if slash and _is_host(first) else self.repository
        return OFFICIAL + path if self.registry == DOCKER_HUB and "/" not in path else path

    @property
    def full_repository(self) -> str:
        """The repository with its registry; two names of one repository have the same."""
        return f"{self.registry}/{self.path}"

    @property
    def full(self) -> str:
        """The whole name, with registry and tag or digest; two names of one image have the same."""
        return self.full_repository + self.suffix

    @property
    def suffix(self) -> str:
        """The tag and digest as they follow the repository; ``:latest`` when there are none."""
        tag = self.tag or ("" if self.digest else DEFAULT_TAG)
        return (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")


def _is_host(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost" or first.lower() != first


def find_name(text: str) -> ImageName | None:
    """Return the parts of an image's name; None if it is not one."""
    matched = _REFERENCE.fullmatch(text)
    if matched is None or len(matched["repository"]) > REPOSITORY_LENGTH_MAX:
        return None
    if _BARE_ID.fullmatch(text):  # it would be taken for an image's id
        return None
    return ImageName(matched["repository"], matched["tag"] or "", matched["digest"] or "")


def parse_name(text: str) -> ImageName:
    """Return the parts of an image's name. Raises InvalidImageName, in the words of the kubelet."""
    name = find_name(text)
    if name is None:
        raise InvalidImageName(
            f'Failed to apply default image tag "{text}": couldn\'t parse image name '
            f'"{text}": invalid reference format'
        )
    return name


def is_image_id(text: str) -> bool:
    """Return whether a text is the id of an image."""
    return _IMAGE_ID.fullmatch(text) is not None


def full_name(text: str) -> str:
    """Return the whole name of an image, with registry and tag; the text itself if it is no name."""
    name = find_name(text)
    return text if name is None else name.full
