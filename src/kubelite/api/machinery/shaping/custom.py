"""The form of custom resources, which their definition's schema tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from kubelite.api.errors import BadRequest, Cause
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.causes import invalid, unchecked
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.machinery.schema_walk import has_rules
from kubelite.api.machinery.shaping.blame import Blame, causes_of, status_causes_of
from kubelite.api.machinery.shaping.compile_openapi import PRESERVE, compile_openapi
from kubelite.api.machinery.shaping.condensing import alternatives_of, condensed
from kubelite.api.machinery.shaping.constraints import (
    Compiler,
    Table,
    TooManyAlternatives,
    satisfies,
    work,
)
from kubelite.api.machinery.shaping.embedded import MetadataRules, no_rules
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.machinery.shaping.pruning import (
    check_metadata,
    drop_unknown,
    shape_embedded,
)
from kubelite.api.machinery.shaping.readers import (
    Malformed,
    Reader,
    ReaderCompiler,
    UnknownField,
    progress,
)
from kubelite.api.machinery.shaping.shape import Inspection

if TYPE_CHECKING:
    from kubelite.api.machinery.expressions.evaluating import RuleSet

JSON = dict[str, Any]

_FREE: Final[JSON] = {PRESERVE: True}
_LOADING = (
    Lock()
)  # what is compiled is known by the identity of its node, so there must be one copy of each
_FIRST_USE = 70_000  # 20 ms, of the largest definitions of well-known operators
_PASSES = 2
# Reasons for which Kubernetes does not evaluate rules.
_MISLEADING = frozenset(
    f"FieldValue{reason}"
    for reason in ("NotSupported", "Required", "TooLong", "TooMany", "TypeInvalid")
)


class CustomShape:
    """The form of the objects of one version of a custom resource; implements `Shape`.

    Nothing is compiled before its first use, and what is compiled lives as long as this object. Threads may share it.
    """

    __slots__ = (
        "_alternatives",
        "_compiler",
        "_condensed",
        "_expressions",
        "_gvk",
        "_pruner",
        "_prunes",
        "_reader",
        "_ruled",
        "_rules",
        "_schema",
        "_source",
        "_table",
    )

    def __init__(
        self,
        openapi: JSON | Callable[[], JSON] | None,
        gvk: GroupVersionKind,
        *,
        preserve_unknown: bool = False,
        metadata_rules: MetadataRules = no_rules,
    ) -> None:
        """`openapi` is the version's ``openAPIV3Schema``, which must not change, or a function that returns it.

        The function is called at the first use, so that nobody holds what is not used. None: anything is kept.
        `metadata_rules` are those of the metadata of embedded resources.
        """
        self._source = _FREE if openapi is None else openapi
        self._condensed: JSON | None = None
        self._gvk = gvk
        self._prunes = not preserve_unknown and openapi is not None
        self._schema: Schema | None = None
        self._reader: Reader | None = None
        self._pruner: Reader | None = None  # as the reader, without defaults
        self._rules = metadata_rules
        self._compiler = Compiler(metadata_rules)
        self._table: Table | None = None
        self._alternatives: int | None = None
        self._ruled: bool | None = None  # whether the schema has rules
        self._expressions: RuleSet | None = None

    @property
    def _node(self) -> JSON:
        """The schema's root."""
        if self._condensed is None:
            with _LOADING:
                if self._condensed is None:
                    source = self._source
                    self._condensed = condensed(source() if callable(source) else source)
        return self._condensed

    @property
    def schema(self) -> Schema:
        """The types and merge rules of the fields."""
        if self._schema is None:
            self._schema = compile_openapi(self._node, self._gvk, preserve_unknown=not self._prunes)
        return self._schema

    def receive(self, body: JSON) -> tuple[str, ...]:
        """Give a client's body its form in place; return the paths of dropped fields.

        Raises:
            BadRequest: The metadata, or that of an embedded resource, has a value of the wrong type.
            RequestEntityTooLarge: The defaults of list elements would take too much memory.
        """
        try:
            return self._received(body)
        except RecursionError as error:
            raise BadRequest("json: exceeded max depth") from error

    def _received(self, body: JSON) -> tuple[str, ...]:
        progress.start()
        unknown = self._shape_metadata(body)
        try:
            try:
                self._read(body)
            except UnknownField:
                unknown += drop_unknown(self._node, body, root=True) if self._prunes else ()
                unknown += shape_embedded(self._node, body)
                self._read(body)
        except Malformed:
            self._refuse(body)
        except BadRequest as error:
            raise self._unreadable(error) from error
        return unknown

    def _read(self, body: JSON) -> None:
        if self._reader is None:
            self._reader = ReaderCompiler(prunes=self._prunes).container(self._node, root=True)
        self._reader(body)

    def _read_unfilled(self, body: JSON) -> None:
        if self._pruner is None:
            compiler = ReaderCompiler(prunes=self._prunes, fills=False)
            self._pruner = compiler.container(self._node, root=True)
        self._pruner(body)

    def _shape_metadata(self, body: JSON) -> tuple[str, ...]:
        if "metadata" not in body:
            return ()
        if body["metadata"] is None:
            body["metadata"] = {}
        meta = body["metadata"]
        try:
            unknown = structure(compile_struct(ObjectMeta), meta)
        except BadRequest:
            try:
                check_metadata(meta)
            except BadRequest as error:
                raise self._unreadable(error) from error
            raise
        return tuple(f"metadata.{name}" for name in unknown)

    def _refuse(self, body: JSON) -> None:
        """Raise BadRequest for the first malformed embedded resource."""
        try:
            shape_embedded(self._node, body)
        except BadRequest as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: BadRequest) -> BadRequest:
        kind, version = self._gvk.kind, self._gvk.version
        return BadRequest(
            f'{kind} in version "{version}" cannot be handled as a {kind}: {error.message}'
        )

    def complete(self, item: JSON) -> None:
        """Give the form to an object that the server or admission changed; raises what `receive` raises."""
        self.receive(item)

    def reshape(self, item: JSON) -> bool:
        """Give a stored object the form of this schema in place, as a read does; return whether anything changed.

        Malformed metadata of embedded resources is dropped: it was stored before the schema said what it is.
        """
        return self._reformed(item, self._read)

    def prune(self, item: JSON) -> bool:
        """Drop from a converted object what this schema does not know; return whether anything changed.

        As `reshape`, but without defaults, which Kubernetes fills in when it reads, not when it converts.
        """
        return self._reformed(item, self._read_unfilled)

    def _reformed(self, item: JSON, read: Callable[[JSON], None]) -> bool:
        progress.start()
        changed = False
        try:
            read(item)
        except (UnknownField, Malformed):
            changed = True
            if self._prunes:
                drop_unknown(self._node, item, root=True)
            shape_embedded(self._node, item, lenient=True)
            read(item)
        return changed or progress.changed

    def complete_status(self, item: JSON) -> None:
        """Do nothing: a schema has no fields that are always encoded."""

    def causes(
        self,
        item: Mapping[str, Any],
        old: Mapping[str, Any] | None,
        subresource: str = "",
        inspection: Inspection | None = None,
    ) -> Sequence[Cause]:
        """Return why an object does not satisfy its schema; values that are as in `old` are not blamed.

        Of a write of the subresource status, the status is validated alone, as Kubernetes does; rules see all. Raises
        TooPatient if rules cost more than the inspection has patience for.
        """

        def found() -> Sequence[Cause]:
            if subresource == "status" and old is not None:
                return status_causes_of(self._node, item, old, self._compiler)
            if satisfies(self._checks(), item):
                return ()
            return causes_of(self._node, item, old, self._rules, self._compiler)

        return self._bounded(
            lambda: self._with_rules(found(), item, old, inspection or Inspection())
        )

    def _bounded(self, find: Callable[[], Sequence[Cause]]) -> Sequence[Cause]:
        work.start()
        try:
            return find()
        except TooManyAlternatives:
            return (unchecked(),)
        except RecursionError:
            return (invalid("<nil>", "", "exceeded max depth"),)

    def _with_rules(
        self,
        found: Sequence[Cause],
        item: Mapping[str, Any],
        old: Mapping[str, Any] | None,
        inspection: Inspection,
    ) -> Sequence[Cause]:
        """Return the causes with those of the schema's rules (``x-kubernetes-validations``).

        A rule may rely on the schema, so none is evaluated if the object breaks it in a way that would mislead the
        rule.
        """
        if not self._has_rules():
            return found
        if any(cause.reason in _MISLEADING for cause in found):
            return found if found[-1] == unchecked() else (*found, unchecked())
        from kubelite.api.machinery.expressions.evaluating import Findings

        findings = Findings(inspection.patience)
        blame = Blame(self._compiler)
        self._rule_set().evaluate(item, old, blame, findings=findings)
        inspection.warnings.extend(findings.warnings)
        return (*found, *findings.causes)

    def _has_rules(self) -> bool:
        if self._ruled is None:
            self._ruled = has_rules(self._node)
        return self._ruled

    def _rule_set(self) -> RuleSet:
        if self._expressions is None:
            from kubelite.api.machinery.expressions.evaluating import RuleSet

            self._expressions = RuleSet(self._node, is_resource=True)
        return self._expressions

    def _checks(self) -> Table:
        if self._table is None:
            self._table = self._compiler.table(self._node)
        return self._table

    def cost(self, object_bytes: int, old_bytes: int = 0) -> int:
        """Return the cost of `receive` and `causes`, for `kubelite.offload`.

        `old_bytes` are those of the object replaced. The first use costs more, since the schema is loaded.
        """
        if self._condensed is None:
            return _FIRST_USE + (object_bytes + old_bytes) * _PASSES
        if self._alternatives is None:
            self._alternatives = alternatives_of(self._condensed)
        first = _FIRST_USE if self._has_rules() and self._expressions is None else 0
        return first + (object_bytes + old_bytes) * (_PASSES + self._alternatives)
