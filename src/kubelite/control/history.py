"""The ControllerRevisions of a DaemonSet or StatefulSet, for `kubectl rollout history` and `undo`."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.protocol import Client
from kubelite.api.errors import AlreadyExists, NotFound
from kubelite.api.kinds.apps import ControllerRevision
from kubelite.api.kinds.core.pods import PodTemplateSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.go_json import canonical_json
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.shaping.go import structure
from kubelite.control.deployment import template_hash
from kubelite.control.ownership import controller_reference
from kubelite.control.pods import pod_weight

HASH = "controller-revision-hash"  # label of pods, and of a DaemonSet's revisions
REVISION_HASH = "controller.kubernetes.io/hash"
NAME_LIMIT = 223


def data_of(template: PodTemplateSpec) -> dict[str, Any]:
    """Return the patch that sets a template, in the form that kubectl reads.

    Go clients compare the bytes, so it has the fields that Go writes, in Go's order.
    """
    fields: dict[str, Any] = msgspec.to_builtins(template)
    structure(compile_struct(PodTemplateSpec), fields)
    whole = {"spec": {"template": {**fields, "$patch": "replace"}}}
    ordered: dict[str, Any] = msgspec.json.decode(canonical_json(whole))
    return ordered


class _KeptSpec(Struct):
    template: PodTemplateSpec


class _KeptData(Struct):
    spec: _KeptSpec


def template_of(revision: ControllerRevision) -> PodTemplateSpec | None:
    """Return the template of a revision; None if its data, which any client may write, holds no template."""
    try:
        return msgspec.convert(revision.data, _KeptData).spec.template
    except msgspec.ValidationError:
        return None


def _has_template(revision: ControllerRevision, template: PodTemplateSpec | None) -> bool:
    """Return whether a revision holds a template, however its data is encoded."""
    return template is not None and template_of(revision) == template


def digest_of(revision: ControllerRevision) -> str:
    """Return the hash that labels the pods of a revision; taken from its name if its own labels were removed."""
    labels = revision.metadata.labels
    return (
        labels.get(REVISION_HASH) or labels.get(HASH) or revision.metadata.name.rpartition("-")[2]
    )


class History(Struct, frozen=True):
    """The revision of the owner's template, and whether to write it."""

    newest: ControllerRevision  # the revision of the current template
    create: bool = False  # the revision does not exist yet
    update: bool = False  # an old revision is the newest again, or lost its labels


def cost_bytes(owner: Any, revisions: Sequence[ControllerRevision]) -> int:
    """Return the cost of planning the history, for the offload."""
    return (2 + len(revisions)) * pod_weight(owner.spec.template.spec)


def plan(owner: Any, revisions: Sequence[ControllerRevision], collisions: int | None) -> History:
    """Decide which revision holds the owner's template; `collisions` is the status' collisionCount."""
    template: PodTemplateSpec = owner.spec.template
    last = max((one.revision for one in revisions), default=0)
    same = [one for one in revisions if _has_template(one, template)]
    if same:
        found = max(same, key=lambda one: one.revision)
        mended = (
            _labelled(found)
            if found.revision == last
            else replace(_labelled(found), revision=last + 1)
        )
        return History(newest=mended, update=mended != found)
    digest = template_hash(template, collisions)
    return History(
        newest=ControllerRevision(
            metadata=ObjectMeta(
                name=f"{owner.metadata.name[:NAME_LIMIT]}-{digest}",
                namespace=owner.metadata.namespace,
                labels={**template.metadata.labels, REVISION_HASH: digest, HASH: digest},
                annotations=owner.metadata.annotations,
                ownerReferences=[controller_reference(owner)],
            ),
            data=data_of(template),
            revision=last + 1,
        ),
        create=True,
    )


def _labelled(revision: ControllerRevision) -> ControllerRevision:
    """Return a revision with its hash labels, which a user may have removed."""
    labels = revision.metadata.labels
    digest = digest_of(revision)
    if labels.get(REVISION_HASH) and labels.get(HASH):
        return revision
    labels = {**labels, REVISION_HASH: digest, HASH: digest}
    return replace(revision, metadata=replace(revision.metadata, labels=labels))


def surplus(
    revisions: Sequence[ControllerRevision], live: set[str], limit: int
) -> list[ControllerRevision]:
    """Return the oldest unused revisions beyond the limit; `live` are the names and hashes in use."""
    idle = [
        one for one in revisions if one.metadata.name not in live and digest_of(one) not in live
    ]
    idle.sort(key=lambda one: one.revision)
    return idle[: max(0, len(idle) - limit)]


async def write(client: Client, decided: History) -> ControllerRevision | None:
    """Write the newest revision and return it; None if its name belongs to another template: a hash collision."""
    if decided.update:
        return await client.update(decided.newest)
    if not decided.create:
        return decided.newest
    try:
        return await client.create(decided.newest)
    except AlreadyExists:
        meta = decided.newest.metadata
        taken = await client.get(ControllerRevision, meta.name, meta.namespace)
        return taken if _has_template(taken, template_of(decided.newest)) else None


async def drop(client: Client, revisions: Sequence[ControllerRevision]) -> None:
    """Delete revisions; those already gone are skipped."""
    for one in revisions:
        try:
            await client.delete(
                ControllerRevision, one.metadata.name, one.metadata.namespace, uid=one.metadata.uid
            )
        except NotFound:
            continue
