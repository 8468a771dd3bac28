"""Parses an expression into a syntax tree with all macros expanded.

The grammar is CEL's, by recursive descent; precedence, positions and the limits on depth are those of cel-go. What is
no sentence of the grammar is handed to `syntax_errors`, which finds the words for it.
"""

from collections.abc import Iterable
from typing import Final

from kubelite.cel import lexer, operators
from kubelite.cel.ast import (
    Call,
    CreateList,
    CreateMap,
    CreateStruct,
    Entry,
    Identifier,
    Literal,
    Node,
    Select,
)
from kubelite.cel.failures import DEPTH_MAX, NOWHERE, CompileFailed, Issue
from kubelite.cel.lexer import END, ESCAPED, FLOAT, IDENTIFIER, INT, Tokens
from kubelite.cel.literals import read_bytes, read_double, read_int, read_string, read_uint
from kubelite.cel.macros import Builder, Macro, MacroFailed, Room
from kubelite.cel.operators import PRODUCTS, RELATIONS, SUMS
from kubelite.cel.recursion import deep_recursion
from kubelite.cel.syntax_errors import find_syntax_errors
from kubelite.limits import EXPRESSION_LENGTH, EXPRESSION_NODES

RESERVED: Final = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "package",
        "namespace",
        "null",
        "return",
        "true",
        "var",
        "void",
        "while",
    ]
)
MacroTable = dict[tuple[str, int, bool], Macro]


class _Unparsable(Exception):
    """The tokens are no sentence of the grammar."""


class _TooDeep(Exception):
    """A limit on depth was passed; its text is the message."""


def macro_table(macros: Iterable[Macro]) -> MacroTable:
    """Return macros by name, number of arguments, and whether they are called on a receiver."""
    return {(macro.function, macro.argument_count, macro.is_member): macro for macro in macros}


def parse(text: str, macros: MacroTable) -> Node:
    """Return the tree of an expression; raises CompileFailed with all issues."""
    if len(text) > EXPRESSION_LENGTH.value:
        EXPRESSION_LENGTH.reached()
        size = f"size: {len(text)}, limit {EXPRESSION_LENGTH.value}"
        issue = Issue(NOWHERE, f"expression code point size exceeds limit: {size}")
        raise CompileFailed(text, [issue])
    tokens = lexer.tokenize(text)
    parser = _Parser(tokens, macros)
    with deep_recursion(_may_be_deep(tokens)):
        try:
            tree = parser.start()
        except _Unparsable:
            raise CompileFailed(text, find_syntax_errors(tokens)) from None
        except _TooDeep as error:
            raise CompileFailed(text, [Issue(NOWHERE, str(error))]) from None
    if parser.issues:
        raise CompileFailed(text, parser.issues)
    return tree


def _may_be_deep(tokens: Tokens) -> bool:
    """Return whether so many tokens open something that Python's limit on recursion could be met."""
    return len(tokens.kinds) > 60 and sum(map(tokens.kinds.count, "([{?.")) > 30


class _Parser:
    """A pass over the tokens; issues that leave the tree whole are collected."""

    def __init__(self, tokens: Tokens, macros: MacroTable) -> None:
        self._kinds = tokens.kinds
        self._texts = tokens.texts
        self._positions = tokens.positions
        self._macros = macros
        self._at = 0
        self._room = Room(EXPRESSION_NODES.value)
        self._depths = [0, 0, 0]  # of expressions, relations and sums within each other
        self._height = (
            0  # nodes within each other in what was parsed last, counted as cel-go's visitor does
        )
        self._height_max = 0
        self.issues: list[Issue] = list(tokens.issues)

    def start(self) -> Node:
        """Return the tree of all tokens; raises _Unparsable and _TooDeep."""
        tree = self._expression()
        if self._kinds[self._at] != END:
            raise _Unparsable
        if self._height_max > DEPTH_MAX:
            raise _TooDeep("max recursion depth exceeded")
        return tree

    def _take(self, kind: str) -> int:
        """Step over a token of a kind; return its position."""
        at = self._at
        if self._kinds[at] != kind:
            raise _Unparsable
        self._at = at + 1
        return self._positions[at]

    def _deeper(self, rule: int) -> None:
        self._depths[rule] += 1
        if self._depths[rule] > DEPTH_MAX:
            raise _TooDeep(f"expression recursion limit exceeded: {DEPTH_MAX}")

    def _rise(self, height: int) -> None:
        """Note that a node stands above what was parsed last and above another part of a height."""
        if height > self._height:
            self._height = height
        self._height += 1
        if self._height > self._height_max:
            self._height_max = self._height

    def _issue(self, position: int, message: str) -> Node:
        self.issues.append(Issue(position, message))
        return Literal(position, None)

    # expressions

    def _expression(self) -> Node:
        self._deeper(0)
        condition = self._disjunction()
        if self._kinds[self._at] == "?":
            position = self._take("?")
            height = self._height
            left = self._disjunction()
            height = max(height, self._height)
            self._take(":")
            right = self._expression()
            self._rise(height)
            condition = Call(position, operators.CONDITIONAL, [condition, left, right], None)
        self._depths[0] -= 1
        return condition

    def _disjunction(self) -> Node:
        first = self._conjunction()
        if self._kinds[self._at] != "||":
            return first
        terms, positions = [first], []
        height = self._height
        while self._kinds[self._at] == "||":
            positions.append(self._take("||"))
            terms.append(self._conjunction())
            height = max(height, self._height)
        self._height = height
        return _balanced(operators.OR, terms, positions, 0, len(positions) - 1)

    def _conjunction(self) -> Node:
        first = self._relation()
        if self._kinds[self._at] != "&&":
            return first
        terms, positions = [first], []
        height = self._height
        while self._kinds[self._at] == "&&":
            positions.append(self._take("&&"))
            terms.append(self._relation())
            height = max(height, self._height)
        self._height = height
        return _balanced(operators.AND, terms, positions, 0, len(positions) - 1)

    def _relation(self) -> Node:
        self._deeper(1)
        left = self._sum()
        function = RELATIONS.get(self._kinds[self._at])
        while function is not None:
            position = self._positions[self._at]
            self._at += 1
            self._deeper(1)
            height = self._height
            right = self._sum()
            self._rise(height)
            self._depths[1] -= 1
            left = Call(position, function, [left, right], None)
            function = RELATIONS.get(self._kinds[self._at])
        self._depths[1] -= 1
        return left

    def _sum(self) -> Node:
        self._deeper(2)
        left = self._product()
        function = SUMS.get(self._kinds[self._at])
        while function is not None:
            position = self._positions[self._at]
            self._at += 1
            self._deeper(2)
            height = self._height
            right = self._product()
            self._rise(height)
            self._depths[2] -= 1
            left = Call(position, function, [left, right], None)
            function = SUMS.get(self._kinds[self._at])
        self._depths[2] -= 1
        return left

    def _product(self) -> Node:
        left = self._unary()
        function = PRODUCTS.get(self._kinds[self._at])
        while function is not None:
            position = self._positions[self._at]
            self._at += 1
            self._deeper(2)
            height = self._height
            right = self._unary()
            self._rise(height)
            self._depths[2] -= 1
            left = Call(position, function, [left, right], None)
            function = PRODUCTS.get(self._kinds[self._at])
        return left

    def _unary(self) -> Node:
        kind = self._kinds[self._at]
        if kind not in ("!", "-"):
            return self._member()
        position = self._positions[self._at]
        count = 0
        while self._kinds[self._at] == kind:
            self._at += 1
            count += 1
        if kind == "-" and count == 1 and self._kinds[self._at] in (INT, FLOAT):
            return self._member(position)
        operand = self._member()
        if count % 2 == 0:
            return operand
        function = operators.NOT if kind == "!" else operators.NEGATE
        return Call(position, function, [operand], None)

    # members

    def _member(self, sign: int | None = None) -> Node:
        if (
            sign is None and self._kinds[self._at] == "-"
        ):  # as in !-1, where the sign is the literal's
            sign = self._take("-")
            if self._kinds[self._at] not in (INT, FLOAT):
                raise _Unparsable
        node = self._primary(sign)
        kinds = self._kinds
        while True:
            kind = kinds[self._at]
            if kind == ".":
                node = self._selection(node)
            elif kind == "[":
                node = self._index(node)
            else:
                return node

    def _selection(self, operand: Node) -> Node:
        position = self._take(".")
        is_optional = self._kinds[self._at] == "?"
        if is_optional:
            self._at += 1
        at = self._at
        kind = self._kinds[at]
        if kind not in (IDENTIFIER, ESCAPED):
            raise _Unparsable
        self._at = at + 1
        name = self._texts[at]
        if kind == ESCAPED:
            self._issue(self._positions[at], "unsupported syntax: '`'")
        elif self._kinds[self._at] == "(" and not is_optional:
            opening = self._positions[self._at]
            height = self._height
            arguments = self._arguments()
            self._rise(height)
            return self._call(opening, name, arguments, operand)
        self._rise(0)
        if is_optional:
            field = Literal(self._positions[at], name)
            return Call(position, operators.OPTIONAL_SELECT, [operand, field], None)
        return Select(position, operand, name)

    def _index(self, operand: Node) -> Node:
        position = self._take("[")
        function = operators.INDEX
        if self._kinds[self._at] == "?":
            self._at += 1
            function = operators.OPTIONAL_INDEX
        height = self._height
        index = self._expression()
        self._rise(height)
        self._take("]")
        return Call(position, function, [operand, index], None)

    def _arguments(self) -> list[Node]:
        self._take("(")
        arguments: list[Node] = []
        if self._kinds[self._at] == ")":
            self._at += 1
            self._height = 0
            return arguments
        arguments.append(self._expression())
        height = self._height
        while self._kinds[self._at] == ",":
            self._at += 1
            arguments.append(self._expression())
            height = max(height, self._height)
        self._height = height
        self._take(")")
        return arguments

    def _call(
        self, position: int, function: str, arguments: list[Node], target: Node | None
    ) -> Node:
        macro = self._macros.get((function, len(arguments), target is not None))
        if macro is None:
            return Call(position, function, arguments, target)
        receiver = arguments[0] if target is None else target
        try:
            expanded = macro.expand(Builder(position, self._room), receiver, arguments)
        except MacroFailed as error:
            self.issues.append(error.issue)
            return Literal(position, None)
        return Call(position, function, arguments, target) if expanded is None else expanded

    # primaries

    def _primary(self, sign: int | None) -> Node:
        at = self._at
        kind = self._kinds[at]
        if kind == IDENTIFIER or kind == ".":
            return self._named()
        if kind == "(":
            self._at = at + 1
            inner = self._expression()
            self._take(")")
            return inner
        if kind == "[":
            return self._list()
        if kind == "{":
            return self._map()
        return self._literal(sign)

    def _named(self) -> Node:
        start = self._positions[self._at]
        prefix = ""
        if self._kinds[self._at] == ".":
            prefix = "."
            self._at += 1
        at = self._at
        self._take(IDENTIFIER)
        name = self._texts[at]
        after = self._kinds[self._at]
        if after == "{" or (after == "." and self._begins_struct()):
            return self._struct(prefix, name)
        position = self._positions[at]
        if after == "(":
            opening = self._positions[self._at]
            arguments = self._arguments()
            if name in RESERVED:
                return self._issue(start, f"reserved identifier: {name}")
            return self._call(opening, prefix + name, arguments, None)
        if name in RESERVED:
            return self._issue(start, f"reserved identifier: {name}")
        self._height = 0
        return Identifier(position, prefix + name)

    def _begins_struct(self) -> bool:
        """Return whether the name read so far goes on, by dots and names, to a brace."""
        at = self._at
        kinds = self._kinds
        while kinds[at] == "." and kinds[at + 1] == IDENTIFIER:
            at += 2
        return kinds[at] == "{"

    def _list(self) -> Node:
        position = self._take("[")
        elements: list[Node] = []
        optional: set[int] = set()
        height = 0
        while self._kinds[self._at] != "]":
            if self._kinds[self._at] == "," and not elements:
                self._at += 1
                break
            if self._kinds[self._at] == "?":
                self._at += 1
                optional.add(len(elements))
            elements.append(self._expression())
            height = max(height, self._height)
            if self._kinds[self._at] != ",":
                break
            self._at += 1
        self._take("]")
        self._height = height
        return CreateList(position, elements, optional)

    def _map(self) -> Node:
        return CreateMap(self._take("{"), self._entries(is_struct=False))

    def _struct(self, prefix: str, name: str) -> Node:
        while self._kinds[self._at] == ".":
            name = f"{name}.{self._texts[self._at + 1]}"
            self._at += 2
        return CreateStruct(self._take("{"), prefix + name, self._entries(is_struct=True))

    def _entries(self, *, is_struct: bool) -> list[Entry]:
        entries: list[Entry] = []
        height = 0
        while self._kinds[self._at] != "}":
            if self._kinds[self._at] == "," and not entries:
                self._at += 1
                break
            entries.append(self._entry(is_struct=is_struct))
            height = max(height, self._height)
            if self._kinds[self._at] != ",":
                break
            self._at += 1
        self._take("}")
        self._height = height
        return entries

    def _entry(self, *, is_struct: bool) -> Entry:
        is_optional = self._kinds[self._at] == "?"
        if is_optional:
            self._at += 1
        self._height = 0
        key = self._field_name() if is_struct else self._expression()
        height = self._height
        position = self._take(":")
        value = self._expression()
        self._height = max(height, self._height)
        return Entry(position, key, value, is_optional=is_optional)

    def _field_name(self) -> str:
        at = self._at
        if self._kinds[at] == ESCAPED:
            self._issue(self._positions[at], "unsupported syntax: '`'")
            self._at += 1
        else:
            self._take(IDENTIFIER)
        return self._texts[at]

    def _literal(self, sign: int | None) -> Node:
        at = self._at
        kind, text = self._kinds[at], self._texts[at]
        position = self._positions[at]
        self._at = at + 1
        self._height = 0
        if sign is not None:
            text = f"-{text}"
            position = sign
        try:
            match kind:
                case "true" | "false":
                    return Literal(position, kind == "true")
                case "null":
                    return Literal(position, None)
                case lexer.STRING:
                    return Literal(position, read_string(text))
                case lexer.INT:
                    return Literal(position, read_int(text))
                case lexer.UINT:
                    return Literal(position, read_uint(text))
                case lexer.FLOAT:
                    return Literal(position, read_double(text))
                case lexer.BYTES:
                    return Literal(position, read_bytes(text[1:]))
                case _:
                    raise _Unparsable
        except ValueError as error:
            return self._issue(position, str(error))


def _balanced(function: str, terms: list[Node], positions: list[int], low: int, high: int) -> Node:
    """Return a chain of terms as a balanced tree, as cel-go does; which of them come first, costs depend on."""
    middle = (low + high + 1) // 2
    left = (
        terms[middle] if middle == low else _balanced(function, terms, positions, low, middle - 1)
    )
    right = (
        terms[middle + 1]
        if middle == high
        else _balanced(function, terms, positions, middle + 1, high)
    )
    return Call(positions[middle], function, [left, right], None)
