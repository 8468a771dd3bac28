"""Admission webhooks: other servers that may change or refuse what is written.

Mutating webhooks are called one after the other, in the order of the names of their configurations; validating ones at
the same time. A webhook is asked in a version that one of its rules names. One that cannot be reached refuses the
request or is passed over, as its failurePolicy says. Only the requests that it concerns wait for a webhook.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import msgspec
from msgspec import Struct, to_builtins

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import APIError, BadRequest, internal_error
from kubelite.api.kinds.admissionregistration import (
    MutatingWebhook,
    MutatingWebhookConfiguration,
    ValidatingWebhook,
    ValidatingWebhookConfiguration,
)
from kubelite.api.machinery.causes import quoted
from kubelite.api.machinery.json_errors import syntax_error
from kubelite.api.machinery.json_patch import PatchFails, apply_operations
from kubelite.api.machinery.work_cost import json_cost
from kubelite.api.registry.admission.matching import (
    Rule,
    Selectors,
    is_exempt,
    matched,
    place_of,
    rule_of,
    selector_of,
)
from kubelite.api.registry.admission.replacing import (
    converted,
    put_back,
    take_out,
)
from kubelite.api.registry.admission.request import AdmissionRequest, JudgesConnections
from kubelite.api.registry.admission.review import (
    VERSIONS,
    Answer,
    Meant,
    read_answer,
    review_of,
)
from kubelite.api.registry.hooks import Hooks, ReviewFailed
from kubelite.api.registry.objects import encode
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.table import ResourceTable
from kubelite.offload import Offload

if TYPE_CHECKING:
    from kubelite.api.registry.admission.admission_metrics import WebhookCall

JSON = dict[str, Any]
SECONDS = 10  # if a webhook names no timeout
NO_SIDE_EFFECTS = ("None", "NoneOnDryRun")
ADMIT = "admit"  # the step of mutating webhooks, as metrics name it
PATCH_PASSES = 4  # decode, patch, encode and decode, in bytes of cost a byte


class Shown(NamedTuple):
    """An object as a webhook is shown it, and its size in bytes of JSON before that; None: there is none."""

    item: JSON | None
    size: int


NOTHING = Shown(None, 0)


class Hook(Struct, frozen=True, eq=False):
    """A configured webhook. Compared by identity."""

    configuration: str
    index: int  # in its configuration
    name: str
    client_config: Mapping[str, Any]
    rules: Sequence[Rule]
    selectors: Selectors
    versions: Sequence[str]
    is_equivalent: bool
    is_ignored: bool  # its failure is
    is_dry: bool  # it may be called for a dry run
    is_reinvocable: bool
    seconds: float
    conditions: Sequence[str] = ()  # expressions

    @property
    def key(self) -> str:
        """What tells the webhook from all others."""
        return f"{self.configuration}/{self.name}/{self.index}"


def hook_of(configuration: str, index: int, hook: MutatingWebhook | ValidatingWebhook) -> Hook:
    """Compile a webhook."""
    reinvocation = hook.reinvocationPolicy if isinstance(hook, MutatingWebhook) else None
    return Hook(
        configuration=configuration,
        index=index,
        name=hook.name,
        client_config=to_builtins(hook.clientConfig),
        rules=[
            rule_of(one.operations, one.apiGroups, one.apiVersions, one.resources, one.scope)
            for one in hook.rules
        ],
        selectors=Selectors(selector_of(hook.namespaceSelector), selector_of(hook.objectSelector)),
        versions=hook.admissionReviewVersions,
        is_equivalent=hook.matchPolicy != "Exact",
        is_ignored=hook.failurePolicy == "Ignore",
        is_dry=hook.sideEffects in NO_SIDE_EFFECTS,
        is_reinvocable=reinvocation == "IfNeeded",
        seconds=hook.timeoutSeconds or SECONDS,
        conditions=[one.expression for one in hook.matchConditions],
    )


class _Webhooks(JudgesConnections):
    """What both plugins have in common."""

    _step: ClassVar[str]  # as metrics name it
    _kind: ClassVar[type[MutatingWebhookConfiguration | ValidatingWebhookConfiguration]]

    def __init__(
        self,
        lookup: Lookup,
        resources: ResourceTable,
        hooks: Hooks,
        authorizer: UnionAuthorizer,
        offload: Offload,
    ) -> None:
        self._authorizer = authorizer
        self._lookup = lookup
        self._resources = resources
        self._hooks = hooks
        self._offload = offload
        self._configured: Sequence[Hook] | None = None
        lookup.subscribe(self._kind, self._changed)

    def _changed(self, *_: object) -> None:
        self._configured = None

    def configured(self) -> Sequence[Hook]:
        """Return all webhooks, in the order in which they are called."""
        if self._configured is None:
            found: list[Any] = sorted(
                self._lookup.list(self._kind), key=lambda one: one.metadata.name
            )
            self._configured = [
                hook_of(one.metadata.name, index, hook)
                for one in found
                for index, hook in enumerate(one.webhooks)
            ]
        return self._configured

    def meant(self, hook: Hook, request: AdmissionRequest) -> Meant | None:
        """Return the form in which a webhook is asked about a request; None: it is not. Raises NotFound."""
        place = place_of(request)
        if is_exempt(place) or not hook.selectors.select_objects(request):
            return None
        others = self._equivalents(request) if hook.is_equivalent else tuple
        found = matched(hook.rules, place, others)
        if found is None or not hook.selectors.select_namespace(request, self._lookup):
            return None
        if found == (place.group, place.version, place.plural):
            return Meant(request.kind, found)
        row = self._resources.find(*found)
        assert row is not None
        return Meant(row.kind if request.kind == request.served.kind else request.kind, found)

    def _equivalents(self, request: AdmissionRequest) -> Callable[[], Sequence[Resource]]:
        storage, served = request.resource.storage, request.served
        return lambda: [
            row for row in self._resources.all() if row.storage == storage and row is not served
        ]

    async def conditions_hold(self, hook: Hook, request: AdmissionRequest, meant: Meant) -> bool:
        """Return whether a webhook's match conditions hold; raises Forbidden if that cannot be told."""
        if not hook.conditions:
            return True
        from kubelite.api.registry.admission.policies.conditions import MatchConditions, holds

        conditions = MatchConditions(hook.conditions, hook.name, self._step, hook.is_ignored)
        return await holds(
            conditions,
            request,
            meant,
            self._resources,
            self._authorizer,
            self._offload,
        )

    async def ask(
        self,
        hook: Hook,
        request: AdmissionRequest,
        meant: Meant,
        shown: Shown,
        call: "WebhookCall",
    ) -> Answer | None:
        """Return the answer of a webhook; None: its failure is ignored. Raises BadRequest and InternalError."""
        if request.dry_run and not hook.is_dry:
            raise BadRequest(f"admission webhook {quoted(hook.name)} does not support dry run")
        uid, version = (
            self._hooks.uid(),
            next((one for one in hook.versions if one in VERSIONS), ""),
        )
        try:
            if not version:
                raise ReviewFailed(
                    "could not create admission objects: webhook does not accept known AdmissionReview "
                    "versions (v1, v1beta1)"
                )
            old = await self._shown(request, meant, request.old)
            asked = review_of(request, meant, uid, version, shown.item, old.item)
            cost = json_cost(shown.size + old.size)
            body = await self._offload.run(cost, lambda: encode(asked))
            try:
                answer = await self._hooks.post(hook.client_config, body, hook.seconds)
            except ReviewFailed as error:
                raise ReviewFailed(f"failed to call webhook: {error}", error.code) from error
            return read_answer(answer, hook.name, uid, version, mutating=self._step == ADMIT)
        except ReviewFailed as error:
            if hook.is_ignored:
                call.failed_open(error.code)
                request.annotate(f"failed-open.{self._annotation}/{hook.name}", hook.name)
                return None
            call.rejected("calling_webhook_error", error.code)
            raise internal_error(f"failed calling webhook {quoted(hook.name)}: {error}") from error

    _annotation = "webhook.admission.k8s.io"

    def _call_of(
        self, hook: Hook, request: AdmissionRequest
    ) -> "AbstractContextManager[WebhookCall]":
        """Return what counts one call of a webhook."""
        from kubelite.api.registry.admission.admission_metrics import webhook_call

        return webhook_call(hook.name, self._step, request.operation.value)

    def _row(self, request: AdmissionRequest, meant: Meant) -> Resource:
        row = self._resources.find(*meant.resource)
        return request.served if row is None else row

    async def _shown(self, request: AdmissionRequest, meant: Meant, item: JSON | None) -> Shown:
        """Return an object of the request in the form that a webhook wants, as a copy."""
        if item is None:
            return NOTHING
        own = request.resource
        row = own if request.form is not None else self._row(request, meant)
        shown, size = await converted(own, row, item, self._offload)
        if request.form is not None:
            return Shown(shown, size)
        subresource = row.subresources.get(request.attributes.subresource)
        if subresource is not None and subresource.projection is not None:
            return Shown(subresource.projection.read(shown), size)
        shown["apiVersion"], shown["kind"] = row.api_version, row.kind.kind
        return Shown(shown, size)


class MutatingAdmissionWebhook(_Webhooks):
    """Has webhooks change the object."""

    name: ClassVar = "MutatingAdmissionWebhook"

    _kind = MutatingWebhookConfiguration
    _step = ADMIT

    async def mutate(self, request: AdmissionRequest) -> None:
        """Call the webhooks that the request concerns; raises what they reject with, and InternalError."""
        configured = self.configured()
        if not configured:
            return
        invocations = request.repetition.of(self.name)
        invocations.begin(encode(request.object))
        for number, hook in enumerate(configured):
            meant = self.meant(hook, request)
            if meant is None or not invocations.includes(hook.key):
                continue
            if await self.conditions_hold(hook, request, meant):
                await self._call(hook, request, meant, number)
        invocations.end(encode(request.object))

    async def _call(self, hook: Hook, request: AdmissionRequest, meant: Meant, number: int) -> None:
        shown = await self._shown(request, meant, request.object)
        kept = take_out(shown.item, request)
        is_changed = False
        with self._call_of(hook, request) as call:
            answer = await self.ask(hook, request, meant, shown, call)
            if answer is not None:
                tell(request, answer)
                if answer.rejection is not None:
                    call.rejected("no_error", answer.rejection.code)
                    raise answer.rejection
                if answer.patch:
                    is_changed = await self._patch(
                        hook, request, meant, shown.item, kept, answer.patch
                    )
        if is_changed:
            request.repetition.of(self.name).changed()
        if hook.is_reinvocable:
            request.repetition.of(self.name).wants_again(hook.key)
        place = f"round_{int(request.repetition.is_now)}_index_{number}"
        told = {
            "configuration": hook.configuration,
            "webhook": hook.name,
            "mutated": is_changed,
        }
        request.annotate(f"mutation.{self._annotation}/{place}", encode(told).decode())

    async def _patch(
        self,
        hook: Hook,
        request: AdmissionRequest,
        meant: Meant,
        shown: JSON | None,
        kept: JSON,
        patch: bytes,
    ) -> bool:
        """Apply a webhook's patch; return whether it changed the object. Raises InternalError."""
        try:
            operations = msgspec.json.decode(patch)
        except (msgspec.DecodeError, RecursionError) as error:
            raise internal_error(
                f"failed calling webhook {quoted(hook.name)}: received undecodable patch in webhook "
                f"response: {syntax_error(patch)}"
            ) from error
        if operations == []:
            return False
        if shown is None:
            raise internal_error(
                f"admission webhook {quoted(hook.name)} attempted to modify the object, which is not "
                "supported for this operation"
            )
        before = encode(shown)

        def patched() -> JSON:
            return apply_operations(msgspec.json.decode(before), operations)

        try:
            cost = (len(before) + len(patch)) * PATCH_PASSES
            item = await self._offload.run(cost, patched)
        except PatchFails as error:
            raise internal_error(str(error)) from error
        except APIError as error:
            raise internal_error(error.message) from error
        after = encode(item)
        if after == before:
            return False
        row = self._row(request, meant)
        await put_back(request, row, item, kept, self._offload, size=len(after))
        return True


def tell(request: AdmissionRequest, answer: Answer) -> None:
    """Pass on the warnings and annotations of an answer."""
    for warning in answer.warnings:
        if warning.isprintable():  # as upstream, which drops all others
            request.add_warning(warning)
    for name, text in answer.annotations.items():
        request.annotate(name, text)


class ValidatingAdmissionWebhook(_Webhooks):
    """Has webhooks refuse the object."""

    name: ClassVar = "ValidatingAdmissionWebhook"

    _kind = ValidatingWebhookConfiguration
    _step = "validating"

    async def validate(self, request: AdmissionRequest) -> None:
        """Call the webhooks that the request concerns; raises the first rejection, and InternalError."""
        configured = self.configured()
        if not configured:
            return
        concerned = [
            (hook, meant)
            for hook in configured
            if (meant := self.meant(hook, request)) is not None
            and await self.conditions_hold(hook, request, meant)
        ]
        outcomes = await asyncio.gather(
            *(self._judge(hook, request, meant) for hook, meant in concerned),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, Answer):
                tell(request, outcome)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            if outcome is not None and outcome.rejection is not None:
                raise outcome.rejection

    async def _judge(self, hook: Hook, request: AdmissionRequest, meant: Meant) -> Answer | None:
        shown = await self._shown(request, meant, request.object)
        with self._call_of(hook, request) as call:
            answer = await self.ask(hook, request, meant, shown, call)
            if answer is not None and answer.rejection is not None:
                call.rejected("no_error", answer.rejection.code)
            return answer
