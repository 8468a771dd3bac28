"""Checks an expression against declarations: finds what each name means, each call's overloads and each node's type.

The rules, and the words for what breaks them, are those of cel-go's checker.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from kubelite.cel import operators, types
from kubelite.cel.ast import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    CreateStruct,
    Entry,
    Identifier,
    Literal,
    Node,
    Select,
)
from kubelite.cel.declarations import Function, Overload, StructType
from kubelite.cel.failures import Issue
from kubelite.cel.types import BOOL, DYN, INT, Kind, Type, list_of, map_of, optional_of
from kubelite.cel.unification import Bindings, assign, is_dynamic, most_general, substitute
from kubelite.cel.values import type_of

_PLAIN = frozenset({Kind.BOOL, Kind.BYTES, Kind.DOUBLE, Kind.INT, Kind.STRING, Kind.UINT})


class Signature(NamedTuple):
    """An overload, and the names of the type parameters in it."""

    overload: Overload
    names: Sequence[str]


def signatures_of(function: Function) -> list[Signature]:
    """Return the overloads of a function with the names of their type parameters."""
    found = []
    for overload in function.overloads:
        names: dict[str, None] = {}
        for type_ in (overload.result, *overload.arguments):
            _collect(type_, names)
        found.append(Signature(overload, tuple(names)))
    return found


def _collect(type_: Type, names: dict[str, None]) -> None:
    if type_.kind is Kind.PARAMETER:
        names[type_.name] = None
    for part in type_.parameters:
        _collect(part, names)


def _cannot_apply(arguments: Sequence[Type], declared: Sequence[Type]) -> bool:
    """Return whether the number of arguments differs, or a plain type stands where another is declared."""
    if len(arguments) != len(declared):
        return True
    for argument, wanted in zip(arguments, declared, strict=True):
        kind, other = argument.kind, wanted.kind
        if kind is not other and kind in _PLAIN and other in _PLAIN:
            return True
    return False


class Declarations(Protocol):
    """What the checker looks names up in."""

    container: str
    structs: Mapping[str, StructType]

    @property
    def name_parts_max(self) -> int:
        """Return how many parts with dots between them the longest name has."""
        ...

    @property
    def functions(self) -> Mapping[str, Function]:
        """Return all functions by name."""
        ...

    @property
    def signatures(self) -> Mapping[str, Sequence[Signature]]:
        """Return the overloads of all functions by name."""
        ...

    def variable_type(self, name: str) -> Type | None:
        """Return the type of a variable."""
        ...

    def named_type(self, name: str) -> Type | None:
        """Return the type that a name stands for."""
        ...


def candidate_names(container: str, name: str) -> list[str]:
    """Return what a name may mean inside a container, the longest first."""
    if name.startswith("."):
        return [name[1:]]
    if not container:
        return [name]
    parts = container.split(".")
    prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return [*(f"{prefix}.{name}" for prefix in prefixes), name]


def qualified_name(node: Node, parts_max: int) -> str | None:
    """Return the dotted name that a node spells, if it is nothing but names and dots and not too long."""
    parts: list[str] = []
    while isinstance(node, Select) and not node.is_test and len(parts) < parts_max:
        parts.append(node.field)
        node = node.operand
    if not isinstance(node, Identifier) or len(parts) >= parts_max:
        return None
    return ".".join((node.name, *reversed(parts)))


class Checker:
    """A pass over one tree, in which it leaves what it finds; `issues` are empty if all is right."""

    def __init__(self, declarations: Declarations) -> None:
        self._declarations = declarations
        self._bindings: Bindings = {}
        self._scopes: list[dict[str, Type]] = []
        self._variables = 0
        self._typed: list[Node] = []
        self.issues: list[Issue] = []

    def run(self, tree: Node) -> None:
        """Check a tree; afterwards no type in it has a parameter."""
        self._check(tree)
        final: dict[int, Type] = {}
        for node in self._typed:
            node.type = self._final(node.type or DYN, final)

    def _final(self, type_: Type, known: dict[int, Type]) -> Type:
        """Return a type without parameters; types share their parts, each of which is looked at once."""
        if not type_.is_generic:
            return type_
        found = known.get(id(type_))
        if found is None:
            if type_.kind is Kind.PARAMETER:
                bound = self._bindings.get(type_.name)
                found = DYN if bound is None else self._final(bound, known)
            else:
                parts = tuple(self._final(part, known) for part in type_.parameters)
                found = Type(type_.kind, type_.name, parts)
            known[id(type_)] = found
        return found

    # bookkeeping

    def _check(self, node: Node) -> Type:
        type_ = self._CHECKS[type(node)](self, node)
        node.type = type_
        if type_.is_generic:
            self._typed.append(node)
        return type_

    def _issue(self, position: int, message: str) -> Type:
        self.issues.append(Issue(position, message))
        return types.ERROR

    def _undeclared(self, position: int, name: str) -> Type:
        container = self._declarations.container
        return self._issue(
            position, f"undeclared reference to '{name}' (in container '{container}')"
        )

    def _fresh(self) -> Type:
        self._variables += 1
        return types.parameter(f"_var{self._variables - 1}")

    def _assignable(self, sources: Sequence[Type], targets: Sequence[Type]) -> bool:
        bindings = assign(self._bindings, sources, targets)
        if bindings is None:
            return False
        self._bindings = bindings
        return True

    def _mismatch(self, position: int, expected: Type, found: Type) -> Type:
        return self._issue(position, f"expected type '{expected}' but found '{found}'")

    # names

    def _resolve(self, name: str) -> tuple[str, Type, Type | None] | None:
        """Return the full name, its type, and the type it stands for if it stands for one."""
        declarations = self._declarations
        for candidate in candidate_names(declarations.container, name):
            for scope in reversed(self._scopes):
                if candidate in scope:
                    return candidate, scope[candidate], None
            variable = declarations.variable_type(candidate)
            if variable is not None:
                return candidate, variable, None
            named = declarations.named_type(candidate)
            if named is not None:
                return candidate, types.type_of_type(named), named
        return None

    def _identifier(self, node: Identifier) -> Type:
        found = self._resolve(node.name)
        if found is None:
            return self._undeclared(node.position, node.name)
        node.name, type_, node.type_value = found
        return type_

    def _literal(self, node: Literal) -> Type:
        return type_of(node.value)

    def _select(self, node: Select) -> Type:
        if not node.is_test and isinstance(node.operand, Identifier | Select):
            name = qualified_name(node, self._declarations.name_parts_max)
            found = None if name is None else self._resolve(name)
            if found is not None:
                node.identifier = Identifier(node.position, found[0])
                node.identifier.type = found[1]
                node.identifier.type_value = found[2]
                return found[1]
        type_ = self._field(node.position, node.operand, node.field, is_optional=False)
        return BOOL if node.is_test else substitute(self._bindings, type_)

    def _field(self, position: int, operand: Node, field: str, *, is_optional: bool) -> Type:
        target = substitute(self._bindings, self._check(operand))
        if target.kind is Kind.OPAQUE and target.name == "optional_type":
            is_optional = True
            target = target.parameters[0]
        result = DYN
        if target.kind is Kind.MAP:
            result = target.parameters[1]
        elif target.kind is Kind.STRUCT:
            result = self._struct_field(position, target.name, field)
        elif target.kind is Kind.PARAMETER:
            self._assignable([DYN], [target])
        elif not is_dynamic(target) and target.kind is not Kind.ERROR:
            self._issue(position, f"type '{target}' does not support field selection")
        return optional_of(result) if is_optional else result

    def _struct_field(self, position: int, name: str, field: str) -> Type:
        struct = self._declarations.structs.get(name)
        if struct is None:
            return self._issue(position, f"unexpected failed resolution of '{name}'")
        declared = struct.fields.get(field)
        if declared is None:
            return self._issue(position, f"undefined field '{field}'")
        return declared.type

    # calls

    def _call(self, node: Call) -> Type:
        if node.function == operators.OPTIONAL_SELECT:
            return self._optional_select(node)
        for argument in node.arguments:
            self._check(argument)
        if node.target is None:
            function = self._function(node.function)
            if function is None:
                return self._undeclared(node.position, node.function)
            node.function = function.name
            return self._overload(node, function)
        prefix = qualified_name(node.target, self._declarations.name_parts_max)
        if prefix is not None:
            function = self._function(f"{prefix}.{node.function}")
            if function is not None:
                node.function = function.name
                node.target = None
                return self._overload(node, function)
        self._check(node.target)
        function = self._function(node.function)
        if function is None:
            return self._undeclared(node.position, node.function)
        return self._overload(node, function)

    def _function(self, name: str) -> Function | None:
        functions = self._declarations.functions
        for candidate in candidate_names(self._declarations.container, name):
            if candidate in functions:
                return functions[candidate]
        return None

    def _optional_select(self, node: Call) -> Type:
        operand, field = node.arguments
        assert isinstance(field, Literal)
        field.type = types.STRING
        type_ = self._field(node.position, operand, field.value, is_optional=True)
        return substitute(self._bindings, type_)

    def _overload(self, node: Call, function: Function) -> Type:
        if function.name in (operators.AND, operators.OR):
            return self._logical(node, function)
        is_member = node.target is not None
        arguments = [argument.type or DYN for argument in node.arguments]
        if node.target is not None:
            arguments.insert(0, node.target.type or DYN)
        result: Type | None = None
        chosen: list[Overload] = []
        for overload, names in self._declarations.signatures[function.name]:
            declared, returned = overload.arguments, overload.result
            if overload.is_member is not is_member or _cannot_apply(arguments, declared):
                continue
            if names:
                fresh = {name: self._fresh() for name in names}
                declared = tuple(substitute(fresh, type_) for type_ in declared)
                returned = substitute(fresh, returned)
            if not self._assignable(arguments, declared):
                continue
            chosen.append(overload)
            found = substitute(self._bindings, returned)
            if result is None:
                result = found
            elif not is_dynamic(result) and not found.is_same(result):
                result = DYN
        if result is None:
            return self._no_overload(node, function.name, arguments)
        node.overloads = tuple(chosen)
        return result

    def _no_overload(self, node: Call, name: str, arguments: list[Type]) -> Type:
        texts = [str(substitute(self._bindings, each, to_dyn=True)) for each in arguments]
        receiver = f"{texts.pop(0)}." if node.target is not None else ""
        signature = f"{receiver}({', '.join(texts)})"
        return self._issue(
            node.position, f"found no matching overload for '{name}' applied to '{signature}'"
        )

    def _logical(self, node: Call, function: Function) -> Type:
        node.overloads = function.overloads
        result = BOOL
        for argument in node.arguments:
            found = argument.type or DYN
            if not self._assignable([found], [BOOL]):
                result = self._mismatch(argument.position, BOOL, found)
        return result

    # aggregates

    def _join(self, previous: Type | None, current: Type) -> Type:
        if previous is None:
            return current
        if self._assignable([previous], [current]):
            return most_general(previous, current)
        return DYN  # what mixes types is found later, with all other literals

    def _unwrapped(self, node: Node, type_: Type) -> Type:
        """Return what is in the optional that stands behind a question mark."""
        if type_.kind is Kind.OPAQUE and type_.name == "optional_type":
            return type_.parameters[0]
        if not is_dynamic(type_):
            self._mismatch(node.position, optional_of(type_), type_)
        return type_

    def _list(self, node: CreateList) -> Type:
        joined: Type | None = None
        for index, element in enumerate(node.elements):
            type_ = self._check(element)
            if index in node.optional:
                type_ = self._unwrapped(element, type_)
            joined = self._join(joined, type_)
        return list_of(self._fresh() if joined is None else joined)

    def _map(self, node: CreateMap) -> Type:
        keys: Type | None = None
        values: Type | None = None
        for entry in node.entries:
            keys = self._join(keys, self._check(entry.key))
            type_ = self._check(entry.value)
            if entry.is_optional:
                type_ = self._unwrapped(entry.value, type_)
            values = self._join(values, type_)
        if keys is None or values is None:
            return map_of(self._fresh(), self._fresh())
        return map_of(keys, values)

    def _struct(self, node: CreateStruct) -> Type:
        found = self._resolve(node.name)
        if found is None:
            return self._undeclared(node.position, node.name)
        node.name, type_, named = found
        result = types.ERROR
        if named is None:
            self._issue(node.position, f"'{type_.declared_name}' is not a type")
        elif named.kind is not Kind.STRUCT:
            self._issue(node.position, f"'{named.declared_name}' is not a message type")
        else:
            result = named
        for entry in node.entries:
            self._struct_entry(result, entry)
        return result

    def _struct_entry(self, struct: Type, entry: Entry) -> None:
        found = self._check(entry.value)
        declared = self._struct_field(entry.position, struct.name, entry.key)
        if entry.is_optional:
            found = self._unwrapped(entry.value, found)
        if not self._assignable([declared], [found]):
            self._issue(
                entry.position,
                f"expected type of field '{entry.key}' is '{declared}' but provided type is '{found}'",
            )

    # comprehensions

    def _comprehension(self, node: Comprehension) -> Type:
        self._check(node.range)
        accumulated = self._check(node.initial)
        range_ = substitute(self._bindings, node.range.type or DYN)
        self._scopes.append({node.accumulator: accumulated})
        self._scopes.append(self._loop_variables(node, range_))
        self._expect(node.condition, BOOL)
        self._expect(node.step, accumulated)
        self._scopes.pop()
        result = self._check(node.result)
        self._scopes.pop()
        return substitute(self._bindings, result)

    def _expect(self, node: Node, expected: Type) -> None:
        found = self._check(node)
        if not self._assignable([expected], [found]):
            self._mismatch(node.position, expected, found)

    def _loop_variables(self, node: Comprehension, range_: Type) -> dict[str, Type]:
        if range_.kind is Kind.LIST:
            pair = (INT, range_.parameters[0])
            single = pair[1]
        elif range_.kind is Kind.MAP:
            pair = (range_.parameters[0], range_.parameters[1])
            single = pair[0]
        elif range_.kind in (Kind.DYN, Kind.ERROR, Kind.PARAMETER):
            self._assignable([DYN], [range_])
            pair, single = (DYN, DYN), DYN
        else:
            text = "cannot be range of a comprehension (must be list, map, or dynamic)"
            self._issue(node.range.position, f"expression of type '{range_}' {text}")
            pair, single = (types.ERROR, types.ERROR), types.ERROR
        if node.second:
            return {node.first: pair[0], node.second: pair[1]}
        return {node.first: single}

    _CHECKS: ClassVar[dict[type[Node], Callable[[Any, Any], Type]]] = {
        Literal: _literal,
        Identifier: _identifier,
        Select: _select,
        Call: _call,
        CreateList: _list,
        CreateMap: _map,
        CreateStruct: _struct,
        Comprehension: _comprehension,
    }
