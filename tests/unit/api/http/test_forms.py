"""Tables and bare metadata."""

from typing import Any

import msgspec
import pytest
from fakes.custom_resources import custom_resource
from fakes.recording_offload import RecordingOffload
from fakes.server import StandingClock

from kubelite.api.errors import BadRequest, NotAcceptable
from kubelite.api.http.forms import Forms
from kubelite.api.http.negotiation import Media
from kubelite.api.http.request import NO_QUERY
from kubelite.api.http.wire import Body, whole
from kubelite.api.registry.answers import Listed
from kubelite.api.registry.builtin import builtin_table

CONFIG_MAP = (
    b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"7","name":"a",'
    b'"creationTimestamp":"2026-05-01T11:00:00Z"},"data":{"k":"v"}}'
)
TABLE = Media(form="Table")
METADATA = Media(form="PartialObjectMetadata", form_version="v1beta1")
METADATA_LIST = Media(form="PartialObjectMetadataList")
forms = Forms(StandingClock())
found = builtin_table().find("", "v1", "configmaps")
assert found is not None
config_maps = found


def read(body: Body) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(whole(body))
    return decoded


async def test_a_table_of_one() -> None:
    shown = read(await forms.single(config_maps, TABLE, NO_QUERY, CONFIG_MAP))
    assert shown["kind"] == "Table"
    assert shown["metadata"] == {"resourceVersion": "7"}
    assert shown["rows"][0]["cells"] == ["a", 1, "60m"]
    assert shown["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize("count", [2, 500])
async def test_a_table_of_many(count: int) -> None:
    listed = Listed(
        items=[CONFIG_MAP] * count, resource_version="9", continue_token="t", remaining=1
    )
    query = {"includeObject": ["None"]}
    shown = read(await forms.list(config_maps, TABLE, query, listed))
    assert len(shown["rows"]) == count
    assert "object" not in shown["rows"][0]
    assert shown["metadata"] == {"resourceVersion": "9", "continue": "t", "remainingItemCount": 1}


def test_a_watched_table() -> None:
    form = forms.watch(config_maps, TABLE, {"includeObject": ["Object"]})
    event = read(form.event("MODIFIED", CONFIG_MAP))
    assert event["object"]["rows"][0]["object"]["data"] == {"k": "v"}
    bookmark = read(form.event("BOOKMARK", b'{"metadata":{"resourceVersion":"8"}}'))
    assert bookmark["object"]["rows"] == []
    assert bookmark["object"]["metadata"] == {"resourceVersion": "8"}
    assert form.name != forms.watch(config_maps, TABLE, NO_QUERY).name


async def test_metadata() -> None:
    shown = read(await forms.single(config_maps, METADATA, NO_QUERY, CONFIG_MAP))
    assert shown["apiVersion"] == "meta.k8s.io/v1beta1"
    assert "data" not in shown
    listed = Listed(items=[CONFIG_MAP], resource_version="9")
    many = read(await forms.list(config_maps, METADATA_LIST, NO_QUERY, listed))
    assert (many["kind"], many["items"][0]["metadata"]["name"]) == (
        "PartialObjectMetadataList",
        "a",
    )
    event = read(forms.watch(config_maps, METADATA_LIST, NO_QUERY).event("ADDED", CONFIG_MAP))
    assert event["object"]["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize(
    ("media", "count", "leaves"),
    [
        (TABLE, 100, False),
        (TABLE, 300, True),
        (METADATA_LIST, 2000, False),
        (METADATA_LIST, 3000, True),
    ],
)
async def test_long_lists_of_another_form_leave_the_loop(
    media: Media, count: int, leaves: bool
) -> None:
    offload = RecordingOffload()
    listed = Listed(items=[CONFIG_MAP] * count, resource_version="9")
    made = await Forms(StandingClock(), offload).list(config_maps, media, NO_QUERY, listed)
    assert len(read(made)["rows" if media is TABLE else "items"]) == count
    assert (offload.hops == 1) is leaves


async def test_a_table_of_one_huge_object_leaves_the_loop() -> None:
    offload = RecordingOffload()
    huge = CONFIG_MAP.replace(b'"v"', b'"%b"' % (b"x" * 1_400_000))
    await Forms(StandingClock(), offload).single(config_maps, TABLE, NO_QUERY, huge)
    assert offload.hops == 1


async def test_forms_that_do_not_fit() -> None:
    with pytest.raises(NotAcceptable, match="is not a list"):
        await forms.single(config_maps, METADATA_LIST, NO_QUERY, CONFIG_MAP)
    with pytest.raises(NotAcceptable, match="is a list"):
        await forms.list(config_maps, METADATA, NO_QUERY, Listed(items=[], resource_version="1"))
    with pytest.raises(BadRequest, match="unrecognized includeObject value"):
        await forms.single(config_maps, TABLE, {"includeObject": ["All"]}, CONFIG_MAP)


async def test_what_is_only_asked_has_no_table() -> None:
    review = builtin_table().find("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
    assert review is not None
    with pytest.raises(NotAcceptable, match="only the following media types are accepted"):
        await forms.single(review, TABLE, NO_QUERY, b"{}")


async def test_a_table_of_the_old_version() -> None:
    media = Media(form="Table", form_version="v1beta1")
    shown = read(await forms.single(config_maps, media, NO_QUERY, CONFIG_MAP))
    assert shown["apiVersion"] == "meta.k8s.io/v1beta1"
    assert shown["rows"][0]["object"]["apiVersion"] == "meta.k8s.io/v1beta1"
    listed = Listed(items=[CONFIG_MAP], resource_version="9")
    assert read(await forms.list(config_maps, media, NO_QUERY, listed)) == {
        **shown,
        "metadata": {"resourceVersion": "9"},
    }
    event = read(forms.watch(config_maps, media, NO_QUERY).event("ADDED", CONFIG_MAP))
    assert event["object"] == shown


async def test_custom_objects_have_the_type_of_generic_ones() -> None:
    cats = custom_resource("cats")
    with pytest.raises(NotAcceptable, match=r"is a list \(\*unstructured\.UnstructuredList\)"):
        await forms.list(cats, METADATA, NO_QUERY, Listed(items=[], resource_version="1"))
    with pytest.raises(NotAcceptable, match=r"not a list \(\*unstructured\.Unstructured\)"):
        await forms.single(cats, METADATA_LIST, NO_QUERY, CONFIG_MAP)
