"""Small changes to a module's source that its tests should notice.

Strings, annotations, assertions, log lines and the constants at the top of a module are left alone: tests need not
notice a change of wording, and a tuning value has no right number.
"""

import ast
from collections.abc import Iterator
from difflib import unified_diff

from msgspec import Struct

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Statements whose effect is all there is to them; a removed assignment of a name only ends in a NameError.
REMOVABLE = (ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)
LEFT_ALONE: dict[type[ast.AST], tuple[str, ...]] = {
    ast.ClassDef: ("bases", "keywords", "decorator_list")
}  # fields of nodes
CONDITIONS = (ast.Name, ast.Attribute, ast.Call, ast.Await, ast.Subscript)


class Mutant(Struct, frozen=True):
    """A module's source with one change."""

    line: int
    what: str
    source: str

    def diff(self, original: str, path: str) -> str:
        """Return the change as a unified diff with one line of context."""
        lines = unified_diff(
            original.splitlines(), self.source.splitlines(), path, self.what, lineterm="", n=1
        )
        return "\n".join(lines)


def mutants(source: str) -> list[Mutant]:
    """Return every mutant of a module, in the order of its lines; raises SyntaxError."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    text = source.encode()
    made: list[Mutant] = []
    for node, changed, what in _changes(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        replaced = text[:start] + changed.encode() + text[end:]
        if _is_valid(replaced):
            made.append(Mutant(node.lineno, what, replaced.decode()))
    return sorted(made, key=lambda one: one.line)


def _is_valid(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


Site = ast.expr | ast.stmt
Change = tuple[Site, str, str]  # what is replaced, by which text, and how the change is called


def _changes(tree: ast.Module) -> Iterator[Change]:
    for statement in tree.body:
        is_constant = isinstance(statement, ast.Assign | ast.AnnAssign)
        if not is_constant:
            yield from _walk(statement)


def _walk(node: ast.AST) -> Iterator[Change]:
    """Yield the changes within a node, its own first."""
    if isinstance(node, ast.JoinedStr | ast.Assert) or _is_left_alone(node):
        return  # before Python 3.12 what is inside of an f-string has no true position
    yield from _of_statement(node)
    yield from _of_expression(node)
    for name, value in ast.iter_fields(node):
        if name in LEFT_ALONE.get(type(node), ("annotation", "returns", "decorator_list")):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child)


def _is_left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Constant):
        return True  # a docstring, or the body of a protocol's method
    called = node.value.func if isinstance(node.value, ast.Call) else None
    return isinstance(called, ast.Attribute) and ast.unparse(called.value) == "log"


def _of_statement(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Return) and node.value is not None:
        if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield node, "return None", "return value dropped"
    elif isinstance(node, REMOVABLE):
        yield node, "pass", "statement removed"
    elif isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name | ast.Tuple):
        yield node, "pass", "assignment removed"
    if isinstance(node, ast.If | ast.While) and isinstance(node.test, CONDITIONS):
        yield node.test, f"(not {ast.unparse(node.test)})", "condition negated"


def _of_expression(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                other = COMPARISONS[type(operator)]()
                operators = [*node.ops[:place], other, *node.ops[place + 1 :]]
                yield node, _text(ast.Compare(node.left, operators, node.comparators)), "comparison"
        case ast.BoolOp(op=operator, values=values):
            swapped = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield node, _text(ast.BoolOp(swapped, values)), "and/or"
            for place in range(len(values)):
                left = [*values[:place], *values[place + 1 :]]
                kept = left[0] if len(left) == 1 else ast.BoolOp(operator, left)
                yield node, _text(kept), "operand dropped"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, _text(operand), "not dropped"
        case ast.IfExp(test=ast.Name() | ast.Attribute() | ast.Call() as test):
            yield test, f"(not {ast.unparse(test)})", "condition negated"
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
            other_sign = ast.Sub() if isinstance(sign, ast.Add) else ast.Add()
            yield node, _text(ast.BinOp(left, other_sign, right)), "plus/minus"
        case ast.Constant(value=bool() as flag):
            yield node, str(not flag), "constant"
        case ast.Constant(value=int() as number):
            yield node, _text(ast.Constant(number + 1)), "constant"
            yield node, _text(ast.Constant(number - 1)), "constant"
        case ast.Call(func=ast.Name(id=name) as function) if name in CALLS:
            yield function, CALLS[name], "function"
        case _:
            pass


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"
