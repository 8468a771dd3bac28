"""Authorization checks: authorizer.path, group, serviceAccount, and what a decision says.

Who may do what is asked of an `Authorizer`, which the API gives to the expressions that may ask.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from kubelite.cel.declarations import (
    LIST_CREATION,
    ONE,
    STRING_TRAVERSAL,
    STRUCT_CREATION,
    Argument,
    CallEstimate,
    Library,
    Range,
)
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.declaring import Costing, function, member
from kubelite.cel.types import BOOL, STRING, Type, struct
from kubelite.cel.values import EvaluationFailed, OpaqueValue, Value, size_of
from kubelite.text_formats import dns_label, dns_subdomain

_PACKAGE: Final = "kubernetes.authorization"
AUTHORIZER_TYPE: Final = struct(f"{_PACKAGE}.Authorizer")
PATH_CHECK_TYPE: Final = struct(f"{_PACKAGE}.PathCheck")
GROUP_CHECK_TYPE: Final = struct(f"{_PACKAGE}.GroupCheck")
RESOURCE_CHECK_TYPE: Final = struct(f"{_PACKAGE}.ResourceCheck")
DECISION_TYPE: Final = struct(f"{_PACKAGE}.Decision")


class ResourceRequest(Struct, frozen=True, kw_only=True):
    """A request for a resource: "" stands for none, a namespace of "" for the cluster; selectors are texts."""

    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


class Answer(Struct, frozen=True):
    """What an authorizer decides; `error` is "" if it could decide."""

    allowed: bool
    reason: str = ""
    error: str = ""


class Authorizer(Protocol):
    """Decides what one user may do."""

    def may_request(self, request: ResourceRequest, verb: str) -> Answer:
        """Decide on a verb on a resource; a selector that cannot be parsed counts as none, as an error of parsing."""
        ...

    def may_visit(self, path: str, verb: str) -> Answer:
        """Decide on an HTTP verb on a path that is no resource."""
        ...

    def of_service_account(self, namespace: str, name: str) -> "Authorizer":
        """Return the authorizer of a service account."""
        ...


class AuthorizerValue(OpaqueValue):
    """An authorizer in an expression."""

    __slots__ = ("authorizer",)
    cel_type: ClassVar[Type] = AUTHORIZER_TYPE

    def __init__(self, authorizer: Authorizer) -> None:
        self.authorizer = authorizer


class PathCheck(OpaqueValue):
    """A path that may be checked."""

    __slots__ = ("authorizer", "path")
    cel_type: ClassVar[Type] = PATH_CHECK_TYPE

    def __init__(self, authorizer: Authorizer, path: str) -> None:
        self.authorizer = authorizer
        self.path = path


class GroupCheck(OpaqueValue):
    """An API group whose resources may be checked."""

    __slots__ = ("authorizer", "group")
    cel_type: ClassVar[Type] = GROUP_CHECK_TYPE

    def __init__(self, authorizer: Authorizer, group: str) -> None:
        self.authorizer = authorizer
        self.group = group


class ResourceCheck(OpaqueValue):
    """A resource that may be checked; also what `authorizer.requestResource` is."""

    __slots__ = ("authorizer", "request")
    cel_type: ClassVar[Type] = RESOURCE_CHECK_TYPE

    def __init__(self, authorizer: Authorizer, request: ResourceRequest) -> None:
        self.authorizer = authorizer
        self.request = request


class Decision(OpaqueValue):
    """What was decided."""

    __slots__ = ("answer",)
    cel_type: ClassVar[Type] = DECISION_TYPE

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def check_path(value: AuthorizerValue, path: str) -> PathCheck:
    """Return the check of a path; raises EvaluationFailed if it is empty."""
    if not path.strip():
        raise EvaluationFailed("path must not be empty")
    return PathCheck(value.authorizer, path)


def check_group(value: AuthorizerValue, group: str) -> GroupCheck:
    """Return the check of a group; "" is the core group."""
    return GroupCheck(value.authorizer, group)


def of_service_account(value: AuthorizerValue, namespace: str, name: str) -> AuthorizerValue:
    """Return the authorizer of a service account; raises EvaluationFailed if its names cannot be any."""
    if dns_subdomain(name):
        raise EvaluationFailed("Invalid service account name")
    if dns_label(namespace):
        raise EvaluationFailed("Invalid service account namespace")
    return AuthorizerValue(value.authorizer.of_service_account(namespace, name))


def check_resource(value: GroupCheck, resource: str) -> ResourceCheck:
    """Return the check of a resource; raises EvaluationFailed if it is empty."""
    if not resource.strip():
        raise EvaluationFailed("resource must not be empty")
    return ResourceCheck(value.authorizer, ResourceRequest(group=value.group, resource=resource))


def _with_part(part: str) -> Callable[[ResourceCheck, str], ResourceCheck]:
    """Return the function that sets a part of a resource check."""

    def with_part(value: ResourceCheck, text: str) -> ResourceCheck:
        return ResourceCheck(value.authorizer, replace(value.request, **{part: text}))

    return with_part


def decide_path(value: PathCheck, verb: str) -> Decision:
    """Return the decision on an HTTP verb."""
    return Decision(value.authorizer.may_visit(value.path, verb))


def decide_resource(value: ResourceCheck, verb: str) -> Decision:
    """Return the decision on a verb of the API."""
    return Decision(value.authorizer.may_request(value.request, verb))


_CHECK_COST: Final = 350_000  # so that an expression can afford two
_REQUIREMENTS_PER_CHARACTER: Final = 0.5
_COST_PER_REQUIREMENT: Final = float(LIST_CREATION + STRUCT_CREATION)


def _selector_cost(length: Range) -> Range:
    requirements = length.scaled(_REQUIREMENTS_PER_CHARACTER).scaled(_COST_PER_REQUIREMENT)
    return Range(LIST_CREATION, LIST_CREATION) + length.scaled(STRING_TRAVERSAL) + requirements


def _estimate_selector(arguments: Sequence[Argument]) -> CallEstimate:
    return CallEstimate(_selector_cost(arguments[1].size))


def _cost_selector(arguments: Sequence[Value], _result: Value) -> int:
    length = size_of(arguments[1])
    return _selector_cost(Range(length, length)).max


_UNIT = costs.fixed(1)
_CHECK = costs.fixed(_CHECK_COST)
_SELECTOR = Costing(_estimate_selector, _cost_selector)


def _part_function(name: str, id_: str, part: str, costing: Costing) -> Any:
    arguments = (RESOURCE_CHECK_TYPE, STRING)
    return function(name, member(id_, arguments, RESOURCE_CHECK_TYPE, _with_part(part), costing))


def _answer_function(name: str, type_: Type, call: Callable[[Answer], Value]) -> Any:
    read: Callable[[Decision], Value] = lambda decision: call(decision.answer)  # noqa: E731 - typed, unlike in place
    return function(name, member(f"decision_{name}", (DECISION_TYPE,), type_, read, _UNIT))


_TYPES: Final = (
    AUTHORIZER_TYPE,
    PATH_CHECK_TYPE,
    GROUP_CHECK_TYPE,
    RESOURCE_CHECK_TYPE,
    DECISION_TYPE,
)

LIBRARY: Final = Library(
    "kubernetes.authz",
    types=_TYPES,
    functions=(
        function(
            "path",
            member(
                "authorizer_path", (AUTHORIZER_TYPE, STRING), PATH_CHECK_TYPE, check_path, _UNIT
            ),
        ),
        function(
            "group",
            member(
                "authorizer_group", (AUTHORIZER_TYPE, STRING), GROUP_CHECK_TYPE, check_group, _UNIT
            ),
        ),
        function(
            "serviceAccount",
            member(
                "authorizer_serviceaccount",
                (AUTHORIZER_TYPE, STRING, STRING),
                AUTHORIZER_TYPE,
                of_service_account,
                _UNIT,
            ),
        ),
        function(
            "resource",
            member(
                "groupcheck_resource",
                (GROUP_CHECK_TYPE, STRING),
                RESOURCE_CHECK_TYPE,
                check_resource,
                _UNIT,
            ),
        ),
        _part_function("subresource", "resourcecheck_subresource", "subresource", _UNIT),
        _part_function("namespace", "resourcecheck_namespace", "namespace", _UNIT),
        _part_function("name", "resourcecheck_name", "name", _UNIT),
        _part_function("fieldSelector", "authorizer_fieldselector", "field_selector", _SELECTOR),
        _part_function("labelSelector", "authorizer_labelselector", "label_selector", _SELECTOR),
        function(
            "check",
            member(
                "pathcheck_check", (PATH_CHECK_TYPE, STRING), DECISION_TYPE, decide_path, _CHECK
            ),
            member(
                "resourcecheck_check",
                (RESOURCE_CHECK_TYPE, STRING),
                DECISION_TYPE,
                decide_resource,
                _CHECK,
            ),
        ),
        _answer_function("errored", BOOL, lambda answer: bool(answer.error)),
        _answer_function("error", STRING, lambda answer: answer.error),
        _answer_function("allowed", BOOL, lambda answer: answer.allowed),
        _answer_function("reason", STRING, lambda answer: answer.reason),
    ),
    equality={type_.name: lambda _arguments: CallEstimate(ONE) for type_ in _TYPES},
)
