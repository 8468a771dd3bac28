"""Conversions of custom resources: by their version alone, or by a webhook (apiextensions.k8s.io/v1 ConversionReview).

An object is stored in the storage version that its definition had when it was written. A read converts it to the
version of the path, then prunes it and fills in defaults as that version's schema says.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kubelite.api.errors import PlainError
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery import causes
from kubelite.api.machinery.schema import Schema
from kubelite.api.registry.conversion import JSON
from kubelite.api.registry.hooks import NO_OBJECT, Hooks, ReviewFailed

if TYPE_CHECKING:
    from kubelite.api.machinery.shaping.custom import CustomShape

CONVERSION_SECONDS = 30
REVIEW_KIND = "ConversionReview"
_GROUP = "apiextensions.k8s.io"
_VERSIONS = ("v1", "v1beta1")


class ConversionFailed(PlainError):
    """Objects cannot be converted."""


class WebhookConversion:
    """Converts objects by a webhook of a definition."""

    def __init__(self, config: Mapping[str, Any], hooks: Hooks | None) -> None:
        """`config` is a definition's ``spec.conversion.webhook``."""
        self._client_config = config.get("clientConfig") or {}
        self._versions = config.get("conversionReviewVersions") or ()
        self._hooks = hooks

    async def convert(self, items: Sequence[JSON], wanted: GroupVersionKind) -> Sequence[JSON]:
        """Return the objects, all of one kind, in a version; raises ConversionFailed."""
        different = [item for item in items if item["apiVersion"] != wanted.api_version]
        if not different:
            return items
        first = described(different[0])
        try:
            answered = await self._ask(different, wanted.api_version)
        except ReviewFailed as error:
            raise ConversionFailed(f"conversion webhook for {first} failed: {error}") from error
        if len(answered) != len(different):
            raise ConversionFailed(
                f"conversion webhook for {first} returned {len(answered)} objects, "
                f"expected {len(different)}"
            )
        converted = iter(
            [
                _accepted(original, answer, wanted)
                for original, answer in zip(different, answered, strict=True)
            ]
        )
        return [
            item if item["apiVersion"] == wanted.api_version else next(converted) for item in items
        ]

    async def _ask(self, items: Sequence[JSON], api_version: str) -> list[Any]:
        version = next((one for one in self._versions if one in _VERSIONS), None)
        if version is None:
            raise ReviewFailed("no supported conversion review versions")
        if self._hooks is None:
            raise ReviewFailed("this server calls no webhooks")
        uid = self._hooks.uid()
        review = {
            "kind": REVIEW_KIND,
            "apiVersion": f"{_GROUP}/{version}",
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": items},
        }
        answer = await self._hooks.post(
            self._client_config, msgspec.json.encode(review), CONVERSION_SECONDS
        )
        return _converted_objects(answer, uid, version)


def described(item: Mapping[str, Any]) -> str:
    """Return an object's type as errors name it: ``example.com/v1, Kind=Cat``."""
    return f"{item.get('apiVersion')}, Kind={item.get('kind')}"


def _converted_objects(body: bytes, uid: str, version: str) -> list[Any]:
    """Return the objects of a webhook's answer; raises ReviewFailed."""
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ReviewFailed(NO_OBJECT) from error
    if not isinstance(answer, dict):
        raise ReviewFailed(NO_OBJECT)
    expected = (f"{_GROUP}/{version}", REVIEW_KIND)
    if version == "v1" and (answer.get("apiVersion"), answer.get("kind")) != expected:
        raise ReviewFailed(
            f"expected webhook response of {expected[0]}, Kind={REVIEW_KIND}, got {described(answer)}"
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise ReviewFailed("no response provided")
    if version == "v1" and response.get("uid") != uid:
        got = causes.quoted(str(response.get("uid") or ""))
        raise ReviewFailed(f'expected response.uid="{uid}", got {got}')
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if (status := result.get("status") or "") != "Success":
        raise ReviewFailed(
            str(result.get("message") or f"response.result.status was '{status}', not 'Success'")
        )
    found = response.get("convertedObjects")
    return found if isinstance(found, list) else []


def _accepted(original: JSON, answer: Any, wanted: GroupVersionKind) -> JSON:
    """Return a converted object with the metadata of the original, labels and annotations excepted."""
    name = described(original)
    if not isinstance(answer, dict):
        raise ConversionFailed(
            f"conversion webhook for {name} returned invalid object at index 0: not an object"
        )
    if (version := answer.get("apiVersion")) != wanted.api_version:
        raise ConversionFailed(
            f"conversion webhook for {name} returned invalid object at index 0: invalid groupVersion "
            f"(expected {wanted.api_version}, received {version})"
        )
    if (kind := answer.get("kind")) != wanted.kind:
        raise ConversionFailed(
            f"conversion webhook for {name} returned invalid object at index 0: invalid kind "
            f"(expected {wanted.kind}, received {kind})"
        )
    given = answer.get("metadata")
    if not isinstance(given, dict):
        raise ConversionFailed(
            f"conversion webhook for {name} returned invalid metadata: "
            "missing metadata in converted object"
        )
    kept = original["metadata"]
    for field, title in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        was, now = kept.get(field) or "", given.get(field) or ""
        if was != now:
            raise ConversionFailed(
                f"conversion webhook for {name} returned invalid object: "
                f"must have the same {title}: {was} != {now}"
            )
    metadata = {one: value for one, value in kept.items() if one not in ("labels", "annotations")}
    for field in ("labels", "annotations"):
        if texts := given.get(field):
            metadata[field] = _texts(texts, name, field)
    answer["metadata"] = metadata
    return answer


def _texts(value: Any, name: str, field: str) -> dict[str, str]:
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        return value
    raise ConversionFailed(
        f"conversion webhook for {name} returned invalid metadata: "
        f"metadata.{field} is not a map of strings"
    )


class CustomConversion:
    """Converts the objects of a custom resource between what is stored and one version.

    A stored object gets the defaults of its stored version, is converted, and loses what the schema of the served
    version does not have, as upstream.
    """

    works_as_served = True

    def __init__(
        self,
        served: GroupVersionKind,
        stored: GroupVersionKind,
        shapes: Mapping[str, "CustomShape"],
        *,
        fresh_from: int,
        webhook: WebhookConversion | None,
    ) -> None:
        """`shapes` are those of all versions, by their name.

        Objects stored after the revision `fresh_from` were stored under these schemas, in the version `stored`.
        """
        self._served, self._stored = served, stored
        self._shapes = shapes
        self._fresh_from = fresh_from
        self._webhook = webhook

    @property
    def waits(self) -> bool:
        """Whether a webhook converts."""
        return self._webhook is not None

    def is_needed(self, revision: int) -> bool:
        """Return whether the bytes stored at `revision` are of another version, or of an earlier schema."""
        return revision <= self._fresh_from or self._served != self._stored

    def read(self, stored: JSON) -> JSON:
        """Convert a stored object to the served version."""
        self._fill(stored)
        if stored["apiVersion"] != self._served.api_version:
            assert self._webhook is None
            stored["apiVersion"] = self._served.api_version
            self._shapes[self._served.version].prune(stored)
        return stored

    def write(self, served: JSON) -> JSON:
        """Convert a served object to the stored version."""
        assert self._webhook is None
        served["apiVersion"] = self._stored.api_version
        self._fill(served)  # what is stored is served without another look at it
        return served

    async def read_all(self, stored: Sequence[JSON]) -> Sequence[JSON]:
        """Convert stored objects to the served version; raises ConversionFailed."""
        if self._webhook is None:
            return [self.read(one) for one in stored]
        for one in stored:
            self._fill(one)
        served = await self._webhook.convert(stored, self._served)
        for one in served:
            self._shapes[self._served.version].prune(one)
        return served

    async def write_all(self, served: Sequence[JSON]) -> Sequence[JSON]:
        """Convert served objects to the stored version; raises ConversionFailed."""
        if self._webhook is None:
            return [self.write(one) for one in served]
        stored = await self._webhook.convert(served, self._stored)
        for one in stored:
            self._fill(one)
        return stored

    def schema_of(self, api_version: str) -> Schema | None:
        """Return the schema of a version that is still defined."""
        group, _, version = api_version.rpartition("/")
        if group != self._served.group or version not in self._shapes:
            return None
        return self._shapes[version].schema

    async def convert_all(self, served: Sequence[JSON], api_version: str) -> Sequence[JSON]:
        """Convert served objects to a version that is defined; raises ConversionFailed."""
        group, _, version = api_version.rpartition("/")
        if self._webhook is not None:
            wanted = GroupVersionKind(group, version, self._served.kind)
            served = await self._webhook.convert(served, wanted)
        for one in served:
            one["apiVersion"] = api_version
            self._shapes[version].prune(one)
        return served

    def _fill(self, item: JSON) -> None:
        """Prune an object and fill in its defaults by the schema of its version, if that is still defined."""
        version = item["apiVersion"].rpartition("/")[2]
        if version in self._shapes:
            self._shapes[version].reshape(item)
