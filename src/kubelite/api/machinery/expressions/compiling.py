"""Compiles the rules of one part of a schema (``x-kubernetes-validations``), as Kubernetes 1.36 does."""

from itertools import count
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.machinery.expressions.declarations import Declared, Structs, sizes_in
from kubelite.api.machinery.schema_paths import InvalidPath, resolve_path
from kubelite.cel import types
from kubelite.cel.declarations import Field
from kubelite.cel.environment import Environment, Program
from kubelite.cel.failures import CompileFailed, ProgramFailed
from kubelite.cel.kubernetes import BASE

JSON = dict[str, Any]
SELF: Final = "self"
OLD_SELF: Final = "oldSelf"
# Nobody shall name the type in a rule, so its name is another one each time.
_numbers = count(1)


class Rule(Struct, frozen=True):
    """A compiled rule. Without a `program` it has a `problem`, or is empty."""

    text: str
    problem: str = ""
    program: Program | None = None
    message: str = ""
    message_text: str = ""
    message_program: Program | None = None
    message_problem: str = ""
    reason: str = ""
    field_path: str = ""  # where the part's path goes on
    uses_old: bool = False
    takes_absent: bool = (
        False  # it is evaluated without an old value, too, which then is an empty optional
    )

    @property
    def compares_lists(self) -> bool:
        """Return whether the rule or its message may compare or join lists."""
        programs = (self.program, self.message_program)
        return any(program is not None and program.compares_lists for program in programs)

    @property
    def max_cost(self) -> int:
        """Return what an evaluation costs at most, as estimated."""
        return 0 if self.program is None else self.program.cost.max

    @property
    def shown(self) -> str:
        """Return the rule as errors name it."""
        return (self.message or self.text).strip()


def compile_rules(rules: list[JSON], declared: Declared, node: JSON) -> list[Rule]:
    """Compile the rules of a part that is declared so; `node` is its schema."""
    name = f"selfType{next(_numbers)}"
    structs, sizes = Structs(declared, name), sizes_in(declared)
    type_ = declared.named(name)
    own = Field(type_, read=declared.read)
    plain = BASE.extended(variables={SELF: own, OLD_SELF: own}, structs=structs, sizes=sizes)
    optional = BASE.extended(
        variables={SELF: own, OLD_SELF: Field(types.optional_of(type_))},
        structs=structs,
        sizes=sizes,
    )
    return [
        _compile(rule, optional if rule.get("optionalOldSelf") else plain, node) for rule in rules
    ]


def _compile(rule: JSON, environment: Environment, node: JSON) -> Rule:
    text = rule.get("rule") or ""
    made = Rule(
        text,
        message=rule.get("message") or "",
        reason=rule.get("reason") or "",
        takes_absent=bool(rule.get("optionalOldSelf")),
    )
    if not text.strip():
        return made
    program, problem = compiled(environment, text, "")
    if program is not None and program.type is not types.BOOL:
        problem = "cel expression must evaluate to a bool"
    if program is None or problem:
        return replace(made, problem=problem)
    made = replace(made, program=program, uses_old=OLD_SELF in program.variables)
    if not (message := rule.get("messageExpression") or ""):
        return replace(made, field_path=_field_path(rule.get("fieldPath") or "", node))
    message_program, problem = compiled(environment, message, "messageExpression ")
    if message_program is not None and message_program.type is not types.STRING:
        problem = "messageExpression must evaluate to a string"
    if problem:
        return replace(made, message_problem=problem)
    return replace(
        made,
        message_text=message,
        message_program=message_program,
        field_path=_field_path(rule.get("fieldPath") or "", node),
    )


def compiled(environment: Environment, text: str, what: str) -> tuple[Program | None, str]:
    """Return the program of an expression, or None and what is wrong with it; `what` begins the problem."""
    try:
        return environment.compile(text), ""
    except CompileFailed as error:
        return None, f"{what}compilation failed: {error}"
    except ProgramFailed as error:
        return None, f"{what or 'program '}instantiation failed: {error}"


def _field_path(path: str, node: JSON) -> str:
    if not path:
        return ""
    try:
        steps, _ = resolve_path(path, node)
    except InvalidPath:
        return ""
    shown = ""
    for name, is_property in steps:
        shown += f"{'.' if shown else ''}{name}" if is_property else f"[{name}]"
    return shown
