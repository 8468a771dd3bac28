"""The expressions of admission: the variables they see, their types, and how they are compiled.

Import it where an expression exists, since it brings in the whole of `kubelite.cel`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Final

from msgspec import Struct

from kubelite.cel.declarations import Field, StructType
from kubelite.cel.environment import Environment, Program
from kubelite.cel.failures import CompileFailed, ProgramFailed
from kubelite.cel.kubernetes import BASE
from kubelite.cel.libraries.authz import AUTHORIZER_TYPE, RESOURCE_CHECK_TYPE
from kubelite.cel.types import (
    ANY,
    BOOL,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    Kind,
    Type,
    list_of,
    map_of,
    struct,
)

OBJECT, OLD_OBJECT, PARAMS, REQUEST = "object", "oldObject", "params", "request"
NAMESPACE, AUTHORIZER, VARIABLES = "namespaceObject", "authorizer", "variables"
REQUEST_RESOURCE = "authorizer.requestResource"
VARIABLES_TYPE: Final = struct("kubernetes.variables")
# What an expression may result in.
CONDITION: Final = (BOOL,)
TEXT: Final = (STRING,)
TEXT_OR_NULL: Final = (STRING, NULL)
ANYTHING: Final = (ANY, DYN)


def _struct(**fields: Type) -> StructType:
    return StructType({name: Field(type_) for name, type_ in fields.items()})


_PREFIX = "kubernetes."
_KIND, _RESOURCE = struct(f"{_PREFIX}GroupVersionKind"), struct(f"{_PREFIX}GroupVersionResource")
_USER = struct(f"{_PREFIX}UserInfo")
_TEXTS, _LABELS = list_of(STRING), map_of(STRING, STRING)
REQUEST_TYPE: Final = struct(f"{_PREFIX}AdmissionRequest")
NAMESPACE_TYPE: Final = struct(f"{_PREFIX}Namespace")
STRUCTS: Final[Mapping[str, StructType]] = {
    _KIND.name: _struct(group=STRING, version=STRING, kind=STRING),
    _RESOURCE.name: _struct(group=STRING, version=STRING, resource=STRING),
    _USER.name: _struct(
        username=STRING, uid=STRING, groups=_TEXTS, extra=map_of(STRING, list_of(STRING))
    ),
    REQUEST_TYPE.name: _struct(
        kind=_KIND,
        resource=_RESOURCE,
        subResource=STRING,
        requestKind=_KIND,
        requestResource=_RESOURCE,
        requestSubResource=STRING,
        name=STRING,
        namespace=STRING,
        operation=STRING,
        userInfo=_USER,
        dryRun=BOOL,
        options=DYN,
    ),
    f"{_PREFIX}NamespaceSpec": _struct(finalizers=_TEXTS),
    f"{_PREFIX}NamespaceCondition": _struct(
        status=STRING, type=STRING, lastTransitionTime=TIMESTAMP, message=STRING, reason=STRING
    ),
    f"{_PREFIX}NamespaceStatus": _struct(
        conditions=list_of(struct(f"{_PREFIX}NamespaceCondition")), phase=STRING
    ),
    f"{_PREFIX}NamespaceMetadata": _struct(
        name=STRING,
        generateName=STRING,
        namespace=STRING,
        labels=_LABELS,
        annotations=_LABELS,
        UID=STRING,
        creationTimestamp=TIMESTAMP,
        deletionGracePeriodSeconds=INT,
        deletionTimestamp=TIMESTAMP,
        generation=INT,
        resourceVersion=STRING,
        finalizers=_TEXTS,
    ),
    NAMESPACE_TYPE.name: _struct(
        metadata=struct(f"{_PREFIX}NamespaceMetadata"),
        spec=struct(f"{_PREFIX}NamespaceSpec"),
        status=struct(f"{_PREFIX}NamespaceStatus"),
    ),
}


def variables(
    *, has_params: bool, has_authorizer: bool, object_type: Type = DYN, params_type: Type = DYN
) -> Mapping[str, Type]:
    """Return the variables of expressions, with their types."""
    found = {
        OBJECT: object_type,
        OLD_OBJECT: object_type,
        NAMESPACE: NAMESPACE_TYPE,
        REQUEST: REQUEST_TYPE,
    }
    if has_params:
        found[PARAMS] = params_type
    if has_authorizer:
        found |= {AUTHORIZER: AUTHORIZER_TYPE, REQUEST_RESOURCE: RESOURCE_CHECK_TYPE}
    return found


@cache
def environment(*, has_params: bool, has_authorizer: bool) -> Environment:
    """Return the environment of expressions that see no variables of a policy."""
    seen = variables(has_params=has_params, has_authorizer=has_authorizer)
    return BASE.extended(variables=seen, structs=STRUCTS)


class Compiled(Struct, frozen=True, eq=False):
    """An expression and its program, or why it has none. Compared by identity."""

    text: str
    program: Program | None = None
    error: str = ""
    is_internal: bool = False  # the error is not the author's

    @property
    def type(self) -> Type:
        """The type of its result; of an expression that does not compile any."""
        return DYN if self.program is None else self.program.type


def compiled(surroundings: Environment, text: str, results: Sequence[Type]) -> Compiled:
    """Compile an expression that must result in one of some types; errors are worded as upstream."""
    try:
        program = surroundings.compile(text)
    except CompileFailed as error:
        return Compiled(text, None, f"compilation failed: {error}")
    except ProgramFailed as error:
        return Compiled(text, None, f"program instantiation failed: {error}", is_internal=True)
    if ANY in results or any(program.type.is_same(each) for each in results):
        return Compiled(text, program)
    got = type_text(program.type)
    if len(results) == 1:
        return Compiled(text, None, f"must evaluate to {type_text(results[0])} but got {got}")
    wanted = " ".join(map(type_text, results))
    return Compiled(text, None, f"must evaluate to one of [{wanted}] but got {got}")


def type_text(type_: Type) -> str:
    """Return a type by the names of run time, as the messages about results show it."""
    if not type_.parameters:
        return type_.declared_name
    return f"{type_.name}({', '.join(map(type_text, type_.parameters))})"


def declared_type(type_: Type) -> Type:
    """Return the type under which the result of a variable is known to other expressions."""
    if type_.kind in _KEPT and not type_.is_nullable:
        return type_
    if type_.kind is Kind.LIST and type_.parameters:
        return list_of(declared_type(type_.parameters[0]))
    if type_.kind is Kind.MAP and type_.parameters:
        return map_of(*map(declared_type, type_.parameters))
    return DYN


_KEPT = frozenset(
    {
        Kind.ANY,
        Kind.BOOL,
        Kind.BYTES,
        Kind.DOUBLE,
        Kind.DURATION,
        Kind.INT,
        Kind.NULL,
        Kind.STRING,
        Kind.TIMESTAMP,
        Kind.UINT,
    }
)


class Composition:
    """Compiles the expressions of one policy, which may use its variables by their names.

    `surroundings` returns an environment with (True) or without the authorizer; by default that of
    `environment`, with the variable `params` if `has_params`.
    """

    def __init__(
        self,
        *,
        has_params: bool,
        surroundings: Callable[[bool], Environment] | None = None,
    ) -> None:
        fields: dict[str, Field] = {}
        make = surroundings or (
            lambda has_authorizer: environment(has_params=has_params, has_authorizer=has_authorizer)
        )
        self._fields = fields  # grows with each variable, which only those behind it see
        self._environments = {
            has_authorizer: make(has_authorizer).extended(
                variables={VARIABLES: VARIABLES_TYPE},
                structs={VARIABLES_TYPE.name: StructType(fields)},
            )
            for has_authorizer in (False, True)
        }
        self.variables: dict[str, Compiled] = {}

    def add_variables(self, named: Iterable[tuple[str, str]]) -> None:
        """Compile variables (names and expressions) in their order."""
        for name, text in named:
            self.add_variable(name, text)

    def add_variable(self, name: str, text: str) -> Compiled:
        """Compile a variable; one that does not compile may be used all the same, and fails then."""
        found = self.compile(text, ANYTHING)
        self._fields[name] = Field(declared_type(found.type))
        self.variables[name] = found
        return found

    def compile(
        self, text: str, results: Sequence[Type], *, has_authorizer: bool = True
    ) -> Compiled:
        """Compile an expression that must result in one of some types."""
        return compiled(self._environments[has_authorizer], text, results)

    def surroundings(self, *, has_authorizer: bool = True) -> Environment:
        """Return the environment of the policy's expressions, which sees the variables added so far."""
        return self._environments[has_authorizer]
