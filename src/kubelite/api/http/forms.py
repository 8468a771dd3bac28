"""Other forms of the same objects: bare metadata."""

import msgspec

from kubelite.api.errors import NotAcceptable
from kubelite.api.http.negotiation import META_GROUP, Media
from kubelite.api.http.respond import list_body
from kubelite.api.registry.resources import Resource
from kubelite.api.registry.verbs import Listed
from kubelite.api.registry.watch import PLAIN, Form


class Head(msgspec.Struct):
    """The part of an object that bare metadata shows."""

    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_head_decoder = msgspec.json.Decoder(Head)


class MetadataForm:
    """An object's metadata only."""

    def __init__(self, version: str) -> None:
        self.name = f"metadata {version}"
        self._start = b'{"kind":"PartialObjectMetadata","apiVersion":"%s/%s","metadata":' % (
            META_GROUP.encode(),
            version.encode(),
        )

    def single(self, value: bytes) -> bytes:
        """Return the metadata of one object."""
        return self._start + bytes(_head_decoder.decode(value).metadata) + b"}"

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return one line of a watch."""
        return b'{"type":"%s","object":%s}\n' % (event_type.encode(), self.single(value))


METADATA_FORMS = {version: MetadataForm(version) for version in ("v1", "v1beta1")}


def single_form(resource: Resource, media: Media, body: bytes) -> bytes:
    """Return one object in the form asked for; raises NotAcceptable."""
    if media.form == "PartialObjectMetadata":
        return METADATA_FORMS[media.form_version].single(body)
    if media.form == "PartialObjectMetadataList":
        raise NotAcceptable(
            "you requested PartialObjectMetadataList, but the requested object is not a list "
            f"({resource.kind.kind})"
        )
    return body


def list_form(resource: Resource, media: Media, listed: Listed) -> bytes:
    """Return a list in the form asked for; raises NotAcceptable."""
    if media.form == "PartialObjectMetadataList":
        form = METADATA_FORMS[media.form_version]
        shown = msgspec.structs.replace(listed, items=[form.single(item) for item in listed.items])
        return list_body(f"{META_GROUP}/{media.form_version}", "PartialObjectMetadataList", shown)
    if media.form == "PartialObjectMetadata":
        raise NotAcceptable(
            "you requested PartialObjectMetadata, but the requested object is a list "
            f"({resource.kind.kind}List)"
        )
    return list_body(resource.api_version, resource.kind.kind + "List", listed)


def watch_form(media: Media) -> Form:
    """Return the form of a watch's events; raises NotAcceptable."""
    if media.form in ("PartialObjectMetadata", "PartialObjectMetadataList"):
        return METADATA_FORMS[media.form_version]
    return PLAIN
