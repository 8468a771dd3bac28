"""Choosing the form of an answer."""

import pytest

from kubelite.api.errors import NotAcceptable
from kubelite.api.http.negotiation import Media, error_media, media_of
from kubelite.api.http.request import parse_query

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Media()),
        ("*/*", Media()),
        ("application/json", Media()),
        ("application/yaml", Media(encoding="yaml")),
        ("application/vnd.kubernetes.protobuf", Media()),
        ("application/vnd.kubernetes.protobuf,application/json", Media()),
        (f"{TABLE},application/json", Media(form="Table")),
        (
            METADATA.replace("json", "vnd.kubernetes.protobuf", 1),
            Media(form="PartialObjectMetadataList"),
        ),
        ("application/json;as=Table;v=v9;g=meta.k8s.io, application/yaml", Media(encoding="yaml")),
        ("application/yaml;q=0.1, application/json;q=0.9", Media()),
        ("application/json;stream=watch", Media()),
        ("application/json;pretty=1", Media(pretty=True)),
    ],
)
def test_choice(accept: str, expected: Media) -> None:
    assert media_of(accept) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;as=Chair;g=meta.k8s.io;v=v1", "application/cbor"]
)
def test_refusal(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="only the following media types are accepted"):
        media_of(accept)
    assert error_media(accept) == Media()


def test_people_get_pretty_answers() -> None:
    assert media_of("*/*", "curl/8.0").pretty
    assert error_media("*/*", "curl/8.0").pretty
    assert not error_media("*/*", "kubectl/1.36").pretty
    assert not media_of("*/*", "curl/8.0", parse_query("pretty=false")).pretty
    assert media_of("", "", parse_query("pretty=true")).pretty


def test_custom_resources_have_no_protobuf_but_of_their_metadata() -> None:
    accept = "application/vnd.kubernetes.protobuf"
    assert media_of(accept) == Media()
    with pytest.raises(NotAcceptable):
        media_of(accept, custom=True)
    assert media_of(f"{accept},application/yaml", custom=True) == Media(encoding="yaml")
    form = "as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert media_of(f"{accept};{form}", custom=True) == Media(form="PartialObjectMetadata")
