"""Content negotiation: encoding and representation of an answer, from the Accept header.

Answers are JSON or YAML. A client that asks for protobuf gets JSON, since typed Go clients decode by the
Content-Type of the answer. ``as=Table`` and ``as=PartialObjectMetadata`` ask for another representation.
"""

from functools import lru_cache
from typing import Literal

from msgspec import Struct

from kubelite.api.errors import NotAcceptable
from kubelite.api.http.request import NO_QUERY, Query

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ACCEPTED = (JSON, YAML, PROTOBUF)
REFUSED = "only the following media types are accepted: " + ", ".join(ACCEPTED)
CACHED_HEADER_LENGTH_MAX = 512
CLAUSES_MAX = 64
META_GROUP = "meta.k8s.io"
FORMS = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})
HUMAN_AGENTS = ("curl", "Wget", "Mozilla/5.0")

Encoding = Literal["json", "yaml"]


class Media(Struct, frozen=True):
    """The negotiated encoding and representation of an answer."""

    encoding: Encoding = "json"
    form: str = (
        ""  # Table, PartialObjectMetadata, PartialObjectMetadataList; empty: the object itself
    )
    form_version: str = "v1"
    pretty: bool = False

    @property
    def form_api_version(self) -> str:
        """The apiVersion of the representation."""
        return f"{META_GROUP}/{self.form_version}"

    @property
    def content_type(self) -> str:
        """The Content-Type header of the answer."""
        return JSON if self.encoding == "json" else YAML


PLAIN_JSON = Media()


def media_of(
    accept: str, user_agent: str = "", query: Query = NO_QUERY, *, custom: bool = False
) -> Media:
    """Negotiate by Accept header; JSON is indented for ``pretty`` and HUMAN_AGENTS. Raises NotAcceptable.

    `custom`: of a custom resource, which has no form in protobuf but those of its metadata.
    """
    short = len(accept) <= CACHED_HEADER_LENGTH_MAX
    media = _cached(accept, custom=custom) if short else _choose(accept, custom=custom)
    if media is None:
        raise NotAcceptable(REFUSED)
    if media.encoding == "json" and _pretty(user_agent, query):
        return Media(form=media.form, form_version=media.form_version, pretty=True)
    return media


def error_media(accept: str, user_agent: str = "") -> Media:
    """Negotiate the encoding of an error; JSON if nothing is acceptable, and never a table."""
    media = _cached(accept) if len(accept) <= CACHED_HEADER_LENGTH_MAX else None
    if media is not None and media.encoding != "json":
        return Media(encoding=media.encoding)
    return Media(pretty=True) if _pretty(user_agent, NO_QUERY) else PLAIN_JSON


def parse_accept(header: str) -> list[tuple[str, dict[str, str]]]:
    """Return the media types of an Accept header with their parameters, the highest weight (q) first."""
    clauses: list[tuple[float, str, dict[str, str]]] = []
    for clause in header.split(",")[:CLAUSES_MAX]:
        media_type, *raw_parameters = (part.strip() for part in clause.split(";"))
        if not media_type:
            continue
        parameters = {}
        quality = 1.0
        for parameter in raw_parameters:
            name, _, value = parameter.partition("=")
            if name == "q":
                quality = _quality(value)
            elif name:
                parameters[name.strip()] = value.strip().strip('"')
        clauses.append((quality, media_type.lower(), parameters))
    clauses.sort(key=lambda item: -item[0])
    return [(media_type, parameters) for _, media_type, parameters in clauses]


def _quality(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 1.0


def _pretty(user_agent: str, query: Query) -> bool:
    if values := query.get("pretty"):
        return values[0].lower() in ("1", "t", "true")
    return user_agent.startswith(HUMAN_AGENTS)


@lru_cache(maxsize=256)
def _cached(accept: str, *, custom: bool = False) -> Media | None:
    return _choose(accept, custom=custom)


def _choose(accept: str, *, custom: bool = False) -> Media | None:
    if not accept:
        return PLAIN_JSON
    for media_type, parameters in parse_accept(accept):
        if (encoding := _encoding(media_type)) is None:
            continue
        form = parameters.get("as", "")
        group, version = parameters.get("g", ""), parameters.get("v", "")
        if (form or group or version) and not _is_form(form, group, version):
            continue
        if custom and media_type == PROTOBUF and not form:
            continue
        if parameters.get("stream", "watch") not in ("watch", ""):
            continue
        return Media(
            encoding=encoding,
            form=form,
            form_version=version or "v1",
            pretty=parameters.get("pretty") == "1" and encoding == "json",
        )
    return None


def _is_form(form: str, group: str, version: str) -> bool:
    return form in FORMS and group == META_GROUP and version in ("v1", "v1beta1")


def _encoding(media_type: str) -> Encoding | None:
    if media_type in (JSON, PROTOBUF, "*/*", "application/*"):
        return "json"
    if media_type == YAML:
        return "yaml"
    return None
