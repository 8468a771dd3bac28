"""Tells in the status of ValidatingAdmissionPolicies what is wrong with their expressions, by the types of objects.

Source: kube-controller-manager's validatingadmissionpolicy-status controller. A policy is checked once per generation.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from kubelite.api.errors import NotFound
from kubelite.api.kinds.admissionregistration import (
    ExpressionWarning,
    ParamKind,
    ValidatingAdmissionPolicy,
)
from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.model import GroupVersionKind, to_wire
from kubelite.api.kinds.resource_names import built_in
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.machinery.shaping.compile_openapi import compile_openapi
from kubelite.control.definitions import DEFINITIONS, Definition
from kubelite.control.runtime import Context, Key, Watch

if TYPE_CHECKING:
    from kubelite.api.machinery.admission_types import Place

CHECKING_COST = 40  # per character of expressions and kind, in bytes of cost
KIND_COST = 60_000  # bytes of cost of the types of a kind: a pod's take some milliseconds


class PolicyTypeController:
    """Reconciles the status of validating policies."""

    name = "validatingadmissionpolicy-status-controller"
    identity = (
        "system:apiserver"  # reads the schemas of custom resources, which upstream has from OpenAPI
    )
    workers = 1

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._offload = context.offload
        self._policies = context.mirror(ValidatingAdmissionPolicy)
        self._definitions = context.mirror(Definition)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch all policies."""
        return (Watch(ValidatingAdmissionPolicy, lambda policy: (Key("", policy.metadata.name),)),)

    async def reconcile(self, key: Key) -> float | None:
        """Check a policy that has changed, and write what was found."""
        policy = self._policies.get(key.name)
        if policy is None or policy.metadata.generation <= policy.status.observedGeneration:
            return None
        warnings = await self._check(policy)
        status = {
            "observedGeneration": policy.metadata.generation,
            "typeChecking": {
                "expressionWarnings": [to_wire(warning) for warning in warnings] or None
            },
        }
        metadata = {"uid": policy.metadata.uid, "resourceVersion": policy.metadata.resourceVersion}
        patch = {"metadata": metadata, "status": status}
        await self._client.patch(ValidatingAdmissionPolicy, key.name, patch, subresource="status")
        return None

    async def _check(self, policy: ValidatingAdmissionPolicy) -> Sequence[ExpressionWarning]:
        # It brings in the language of expressions, which is needed only where there is a policy.
        from kubelite.api.machinery import admission_types

        spec = policy.spec
        constraints = spec.matchConstraints
        found: dict[GroupVersionKind, Schema] = {}
        for rule in () if constraints is None else constraints.resourceRules:
            count = 0
            for place in admission_types.places_of(rule):
                for kind in self._kinds_of(place):
                    count += 1
                    schema = await self._schema(kind)
                    if schema is not None:
                        found[kind] = schema
                if count >= admission_types.KINDS_MAX:
                    break
        params = None if spec.paramKind is None else await self._schema(_named(spec.paramKind))
        typed = [admission_types.Typed(kind, schema) for kind, schema in found.items()]
        length = len(msgspec.json.encode(spec))
        cost = len(typed) * (KIND_COST + length * CHECKING_COST)
        return await self._offload.run(
            cost, lambda: admission_types.expression_warnings(spec, typed, params)
        )

    def _kinds_of(self, place: "Place") -> Sequence[GroupVersionKind]:
        """Return the kinds of a resource; the core group stands for any, as upstream's mapper takes it."""
        known = _built_in().get((place.version, place.plural), ())
        custom = [
            GroupVersionKind(one.spec.group, place.version, one.status.acceptedNames.kind)
            for one in self._definitions.list()
            if one.status.acceptedNames.plural == place.plural
            and any(each.name == place.version and each.served for each in one.spec.versions)
        ]
        return [kind for kind in (*known, *custom) if place.group in ("", kind.group)]

    async def _schema(self, kind: GroupVersionKind) -> Schema | None:
        """Return the schema of a kind; None: there is none."""
        type_ = kinds().get(kind)
        if type_ is not None:
            return compile_struct(type_)
        name = next(
            (
                one.metadata.name
                for one in self._definitions.list()
                if (one.spec.group, one.status.acceptedNames.kind) == (kind.group, kind.kind)
            ),
            "",
        )
        if not name:
            return None
        try:
            definition = await self._client.resource(*DEFINITIONS).get(name)
        except NotFound:
            return None
        for version in definition["spec"]["versions"]:
            if version["name"] == kind.version:
                openapi = (version.get("schema") or {}).get("openAPIV3Schema")
                return None if openapi is None else compile_openapi(openapi, kind)
        return None


@cache
def _built_in() -> Mapping[tuple[str, str], Sequence[GroupVersionKind]]:
    """Return the built-in kinds by version and plural."""
    found: dict[tuple[str, str], list[GroupVersionKind]] = {}
    for kind in kinds():
        resource = built_in(kind)
        if resource is not None:
            found.setdefault((resource.version, resource.plural), []).append(kind)
    return found


def _named(kind: ParamKind) -> GroupVersionKind:
    group, _, version = kind.apiVersion.rpartition("/")
    return GroupVersionKind(group, version, kind.kind)
