"""Decides whether one type may stand for another where declarations have type parameters.

`bindings` say what each parameter stands for so far, by its name. A decision that binds parameters binds them in a
copy, which takes the place of the bindings only if all of it holds.
"""

from collections.abc import Sequence

from kubelite.cel.types import DYN, NULL, Kind, Type

Bindings = dict[str, Type]
_NULLABLE = frozenset(
    {Kind.OPAQUE, Kind.STRUCT, Kind.ANY, Kind.DURATION, Kind.TIMESTAMP}
)  # besides nullable types; so since the first checkers
_CONTAINERS = frozenset({Kind.OPAQUE, Kind.LIST, Kind.MAP})


def is_dynamic(type_: Type) -> bool:
    """Return whether a type says nothing about its values."""
    return type_.kind is Kind.DYN or type_.kind is Kind.ANY


def assign(bindings: Bindings, sources: Sequence[Type], targets: Sequence[Type]) -> Bindings | None:
    """Return the bindings under which each source is assignable to its target; None if there are none."""
    if len(sources) != len(targets):
        return None
    extended: Bindings | None = None
    for source, target in zip(sources, targets, strict=True):
        if extended is None and (source.is_generic or target.is_generic):
            extended = dict(bindings)
        if not _assignable(bindings if extended is None else extended, source, target):
            return None
    return bindings if extended is None else extended


def _assignable(bindings: Bindings, source: Type, target: Type) -> bool:
    if source is target and not source.is_generic:
        return True
    if target.kind is Kind.PARAMETER:
        is_valid, is_bound = _binds(bindings, source, target)
        if is_valid:
            return True
        if is_bound:
            return False
    if source.kind is Kind.PARAMETER:
        return _binds(bindings, target, source)[0]
    loose = (Kind.DYN, Kind.ANY, Kind.ERROR)
    if source.kind in loose or target.kind in loose:
        return True
    if source.kind is Kind.NULL or target.kind is Kind.NULL:
        other = target if source.kind is Kind.NULL else source
        return other.kind in _NULLABLE or other.accepts(NULL)
    if source.kind is Kind.TYPE:
        return target.kind is Kind.TYPE
    if source.kind in _CONTAINERS:
        return (
            source.kind is target.kind
            and source.name == target.name
            and len(source.parameters) == len(target.parameters)
            and all(
                _assignable(bindings, one, other)
                for one, other in zip(source.parameters, target.parameters, strict=True)
            )
        )
    return target.accepts(source)


def _binds(bindings: Bindings, type_: Type, parameter: Type) -> tuple[bool, bool]:
    """Return whether a parameter stands or can stand for a type, and whether it stood for one before."""
    if type_.is_same(parameter):
        return True, True
    bound = bindings.get(parameter.name)
    if bound is not None:
        if type_.is_same(bound):
            return True, True
        if not _assignable(bindings, type_, bound):
            return False, True
        general = most_general(type_, bound)
        if _is_absent(bindings, parameter, general):
            bindings[parameter.name] = general
        return True, True
    if _is_absent(bindings, parameter, type_):
        bindings[parameter.name] = type_
        return True, False
    return False, False


def _is_absent(bindings: Bindings, parameter: Type, within: Type) -> bool:
    """Return whether a parameter occurs nowhere in a type, also not behind what other parameters stand for."""
    if parameter.is_same(within):
        return False
    if within.kind is Kind.PARAMETER:
        bound = bindings.get(within.name)
        return bound is None or _is_absent(bindings, parameter, bound)
    return all(_is_absent(bindings, parameter, part) for part in within.parameters)


def most_general(first: Type, second: Type) -> Type:
    """Return the less specific of two types that go together."""
    return first if _is_equal_or_less_specific(first, second) else second


def _is_equal_or_less_specific(first: Type, second: Type) -> bool:
    if is_dynamic(first) or first.kind is Kind.PARAMETER:
        return True
    if is_dynamic(second) or second.kind is Kind.PARAMETER or first.kind is not second.kind:
        return False
    if first.kind is Kind.TYPE:
        return True
    if first.kind not in _CONTAINERS:
        return first.is_same(second)
    return (
        first.name == second.name
        and len(first.parameters) == len(second.parameters)
        and all(map(_is_equal_or_less_specific, first.parameters, second.parameters))
    )


def substitute(bindings: Bindings, type_: Type, *, to_dyn: bool = False) -> Type:
    """Return a type with what its parameters stand for in their place; the rest as dyn if `to_dyn`."""
    if not type_.is_generic:
        return type_
    if type_.kind is Kind.PARAMETER:
        bound = bindings.get(type_.name)
        if bound is not None:
            return substitute(bindings, bound, to_dyn=to_dyn)
        return DYN if to_dyn else type_
    parts = tuple(substitute(bindings, part, to_dyn=to_dyn) for part in type_.parameters)
    return Type(type_.kind, type_.name, parts)
