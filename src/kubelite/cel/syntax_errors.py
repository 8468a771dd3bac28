"""Finds the words for expressions that are no sentences of the grammar.

Users know the messages of cel-go, whose parser ANTLR generates: what it expected where, and which later errors are
worth a message of their own. So this walks the grammar the way such a parser does, with ANTLR's strategy of recovery:
a token too many is skipped, one that is missing is taken as there, and otherwise tokens are skipped up to one that may
follow. Nothing is built on the way; the tree of a sentence comes from `parser`.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from kubelite.cel.failures import DEPTH_MAX, NOWHERE, Issue
from kubelite.cel.lexer import (
    BYTES,
    END,
    ESCAPED,
    FLOAT,
    IDENTIFIER,
    INT,
    STRING,
    UINT,
    Tokens,
)
from kubelite.cel.recursion import deep_recursion

_ORDER: Final = (
    *("==", "!=", "in", "<", "<=", ">=", ">", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ","),
    *("-", "!", "?", ":", "+", "*", "/", "%", "true", "false", "null"),
    *(FLOAT, INT, UINT, STRING, BYTES, IDENTIFIER, ESCAPED),
)
_NAMED: Final = frozenset({FLOAT, INT, UINT, STRING, BYTES, IDENTIFIER, ESCAPED, END})
_RECOVERIES_MAX: Final = 30
_SKIPPED_MAX: Final = 256  # tokens in one recovery
_ERRORS_MAX: Final = 100

Kinds = frozenset[str]
_NUMBERS: Final = frozenset({INT, FLOAT})
_PRIMARY: Final = frozenset(
    {"[", "{", "(", ".", "-", "true", "false", "null", FLOAT, INT, UINT, STRING, BYTES, IDENTIFIER}
)
_EXPRESSION: Final = _PRIMARY | {"!"}
_OPTIONAL: Final = _EXPRESSION | {"?"}
_RELATIONS: Final = frozenset({"<", "<=", ">=", ">", "==", "!=", "in"})
_PRODUCTS: Final = frozenset({"*", "/", "%"})
_SUMS: Final = frozenset({"+", "-"})
_NAMES: Final = frozenset({IDENTIFIER, ESCAPED})


class _Follow(NamedTuple):
    """What may stand behind a place in a rule; `may_end`: the rule may be over there."""

    kinds: Kinds
    may_end: bool = False


_END_OF_RULE: Final = _Follow(frozenset(), True)
_AFTER_MEMBER: Final = _Follow(frozenset({".", "["}), True)
_AFTER_OPERAND: Final = _Follow(_PRODUCTS | _SUMS, True)
_AFTER_CALC: Final = _Follow(_RELATIONS, True)
_AFTER_ELEMENT: Final = _Follow(frozenset({","}), True)


def _only(*kinds: str) -> _Follow:
    return _Follow(frozenset(kinds))


class _Unrecognized(Exception):
    """A rule cannot go on; the message stands at a token."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


class _GivenUp(Exception):
    """So much is wrong that no more is looked at."""


def find_syntax_errors(tokens: Tokens) -> list[Issue]:
    """Return the issues of an expression that does not parse, those of its tokens among them."""
    walk = _Walk(tokens)
    with deep_recursion(is_needed=True), suppress(_GivenUp):
        walk.start()
    return walk.issues


class _Walk:
    """A walk over the tokens; `_follows` are the places that the rules at work were called from."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._kinds = tokens.kinds
        self._at = 0
        self._follows: list[_Follow] = []
        self._is_recovering = False
        self._recoveries = 0
        self._depth = 0  # of expressions within each other
        self._failed_at: tuple[int, set[str]] = (-1, set())
        self.issues: list[Issue] = list(tokens.issues)

    # tokens and messages

    def _look(self, ahead: int = 0) -> str:
        return self._kinds[min(self._at + ahead, len(self._kinds) - 1)]

    def _consume(self) -> None:
        self._at = min(self._at + 1, len(self._kinds) - 1)

    def _display(self, at: int) -> str:
        return f"'{self._tokens.texts[at]}'"

    def _report(self, at: int, message: str) -> None:
        """Add a message, unless one was added since the last token that was right."""
        if self._is_recovering:
            return
        self._is_recovering = True
        self.issues.append(Issue(self._tokens.positions[at], f"Syntax error: {message}"))
        if len(self.issues) >= _ERRORS_MAX:
            position = self._tokens.positions[at]
            message = f"Syntax error: More than {_ERRORS_MAX} syntax errors"
            self.issues.append(Issue(position, message))
            raise _GivenUp

    def _expected(self, place: _Follow) -> Kinds:
        """Return what may stand at a place, behind the rules that may be over included."""
        kinds = set(place.kinds)
        index = len(self._follows) - 1
        while place.may_end and index >= 0:
            place = self._follows[index]
            kinds |= place.kinds
            index -= 1
        return frozenset(kinds | {END} if place.may_end else kinds)

    def _mismatch(self, place: _Follow) -> _Unrecognized:
        message = f"mismatched input {self._display(self._at)} expecting "
        return _Unrecognized(self._at, message + _set_text(self._expected(place)))

    def _no_alternative(self, length: int) -> _Unrecognized:
        """Return that no alternative fits the tokens up to the one `length` places ahead."""
        last = min(self._at + length, len(self._kinds) - 1)
        text = self._tokens.text_between(self._at, last)
        if self._kinds[last] in ("true", "false", "null") and length == 1:
            name = self._kinds[last]
            return _Unrecognized(last, f"mismatched input '{name}' expecting IDENTIFIER")
        return _Unrecognized(last, f"no viable alternative at input '{text}'")

    # ANTLR's strategy

    def _rule(self, body: Callable[[], None], follow: _Follow) -> None:
        """Walk a rule; where it cannot go on, skip to what may follow it."""
        self._follows.append(follow)
        try:
            body()
        except _Unrecognized as error:
            self._report(error.at, error.message)
            self._recover(body.__name__ + error.message)
        finally:
            self._follows.pop()

    def _recover(self, state: str) -> None:
        self._count_recovery()
        index, states = self._failed_at
        skipped = 0
        if index == self._at and state in states:
            self._consume()
        if index != self._at:
            states = set()
        states.add(state)
        self._failed_at = (self._at, states)
        wanted = frozenset().union(*(follow.kinds for follow in self._follows))
        while self._look() not in wanted and self._look() != END:
            if skipped >= _SKIPPED_MAX:
                message = f"error recovery token lookahead limit exceeded: {_SKIPPED_MAX}"
                self.issues.append(Issue(NOWHERE, message))
                raise _GivenUp
            self._consume()
            skipped += 1

    def _count_recovery(self) -> None:
        if self._recoveries >= _RECOVERIES_MAX:
            message = f"error recovery attempt limit exceeded: {_RECOVERIES_MAX}"
            position = self._tokens.positions[self._at]
            self.issues.append(Issue(position, f"Syntax error: {message}"))
            raise _GivenUp
        self._recoveries += 1

    def _delete_one(self, place: _Follow) -> bool:
        """Skip a token behind which one that is expected stands."""
        expected = self._expected(place)
        if self._look(1) not in expected:
            return False
        message = f"extraneous input {self._display(self._at)} expecting {_set_text(expected)}"
        self._report(self._at, message)
        self._consume()
        self._is_recovering = False
        return True

    def _sync(self, place: _Follow) -> None:
        """Make sure that an expected token comes next, where a rule has alternatives."""
        if self._is_recovering or place.may_end or self._look() in place.kinds:
            return
        if not self._delete_one(place):
            raise self._mismatch(place)

    def _match(self, kind: str, after: _Follow = _END_OF_RULE) -> None:
        """Step over a token; `after` says what may stand behind it."""
        if self._look() != kind:
            self._count_recovery()
            if not self._delete_one(_only(kind)):
                if self._look() not in self._expected(after):
                    raise self._mismatch(_only(kind))
                name = _kind_text(kind)
                self._report(self._at, f"missing {name} at {self._display(self._at)}")
                return
        self._is_recovering = False
        self._failed_at = (-1, set())
        self._consume()

    # rules

    def start(self) -> None:
        """Walk the whole expression."""
        self._rule(self._start, _END_OF_RULE)

    def _start(self) -> None:
        self._rule(self._expr, _only(END))
        self._match(END, _Follow(frozenset()))

    def _expr(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            message = f"expression recursion limit exceeded: {DEPTH_MAX}"
            self.issues.append(Issue(NOWHERE, message))
            raise _GivenUp
        try:
            self._conditional()
        finally:
            self._depth -= 1

    def _conditional(self) -> None:
        self._rule(self._disjunction, _Follow(frozenset("?"), True))
        if self._look() != "?":
            return
        self._match("?", _Follow(_EXPRESSION))
        self._rule(self._disjunction, _only(":"))
        self._match(":", _Follow(_EXPRESSION))
        self._rule(self._expr, _END_OF_RULE)

    def _disjunction(self) -> None:
        self._chain(self._conjunction, frozenset({"||"}))

    def _conjunction(self) -> None:
        self._chain(self._relation, frozenset({"&&"}))

    def _relation(self) -> None:
        self._chain(self._calc, _RELATIONS)

    def _calc(self) -> None:
        self._chain(self._unary, _PRODUCTS | _SUMS)

    def _chain(self, operand: Callable[[], None], operators: Kinds) -> None:
        follow = _Follow(operators, True)
        self._rule(operand, follow)
        while self._look() in operators:
            self._match(self._look(), _Follow(_EXPRESSION))
            self._rule(operand, follow)

    def _unary(self) -> None:
        self._sync(_Follow(_EXPRESSION))
        kind = self._look()
        if kind == "-" and self._look(1) not in _PRIMARY:
            raise self._no_alternative(1)
        if kind == "!" or (kind == "-" and self._look(1) not in _NUMBERS):
            while self._look() == kind:
                self._match(kind, _Follow(_PRIMARY | {kind}))
            self._after_signs(kind)
        self._rule(self._member, _END_OF_RULE)

    def _after_signs(self, kind: str) -> None:
        place = _Follow(_PRIMARY | {kind})
        if self._is_recovering or self._look() in place.kinds:
            return
        expected = _set_text(self._expected(place))
        self._report(self._at, f"extraneous input {self._display(self._at)} expecting {expected}")
        wanted = place.kinds.union(*(follow.kinds for follow in self._follows))
        while self._look() not in wanted and self._look() != END:
            self._consume()

    def _member(self) -> None:
        self._rule(self._primary, _AFTER_MEMBER)
        while self._look() in (".", "["):
            if self._look() == "[":
                self._match("[", _Follow(_OPTIONAL))
                self._optional_mark()
                self._rule(self._expr, _only("]"))
                self._match("]", _AFTER_MEMBER)
            else:
                self._selection()

    def _selection(self) -> None:
        following = self._look(1)
        if following != "?" and following not in _NAMES:
            raise self._no_alternative(1)
        self._match(".", _Follow(_NAMES | {"?"}))
        if following == "?":
            self._match("?", _Follow(_NAMES))
        elif following == IDENTIFIER and self._look(1) == "(":
            self._match(IDENTIFIER, _only("("))
            self._arguments(_AFTER_MEMBER)
            return
        self._rule(self._name, _AFTER_MEMBER)

    def _name(self) -> None:
        self._sync(_Follow(_NAMES))
        self._match(self._look() if self._look() in _NAMES else IDENTIFIER)

    def _arguments(self, after: _Follow) -> None:
        self._match("(", _Follow(_EXPRESSION | {")"}))
        self._sync(_Follow(_EXPRESSION | {")"}))
        if self._look() in _EXPRESSION:
            self._rule(self._expr_list, _only(")"))
        self._match(")", after)

    def _expr_list(self) -> None:
        self._chain(self._expr, frozenset({","}))

    def _optional_mark(self) -> None:
        self._sync(_Follow(_OPTIONAL))
        if self._look() == "?":
            self._match("?", _Follow(_EXPRESSION))

    def _primary(self) -> None:
        self._sync(_Follow(_PRIMARY))
        kind = self._look()
        if kind in (IDENTIFIER, "."):
            self._named()
        elif kind == "(":
            self._match("(", _Follow(_EXPRESSION))
            self._rule(self._expr, _only(")"))
            self._match(")")
        elif kind == "[":
            self._aggregate("]", self._list_init, _OPTIONAL)
        elif kind == "{":
            self._aggregate("}", self._map_init, _OPTIONAL)
        else:
            self._rule(self._literal, _END_OF_RULE)

    def _named(self) -> None:
        if self._look() == ".":
            if self._look(1) != IDENTIFIER:
                raise self._no_alternative(1)
            self._match(".", _only(IDENTIFIER))
        self._match(IDENTIFIER)
        if self._look() == "(":
            self._arguments(_END_OF_RULE)
        elif self._begins_struct():
            while self._look() == ".":
                self._match(".", _only(IDENTIFIER))
                self._match(IDENTIFIER, _only(".", "{"))
            self._aggregate("}", self._field_init, _NAMES | {"?"})

    def _begins_struct(self) -> bool:
        ahead = 0
        while self._look(ahead) == "." and self._look(ahead + 1) == IDENTIFIER:
            ahead += 2
        return self._look(ahead) == "{"

    def _aggregate(self, closing: str, inner: Callable[[], None], first: Kinds) -> None:
        self._match(self._look(), _Follow(first | {",", closing}))
        self._sync(_Follow(first | {",", closing}))
        if self._look() in first:
            self._rule(inner, _only(",", closing))
        self._sync(_only(",", closing))
        if self._look() == ",":
            self._match(",", _only(closing))
        self._match(closing)

    def _elements(self, element: Callable[[], None], first: Kinds) -> None:
        """Walk elements between commas; a comma behind the last is not theirs."""
        element()
        while self._look() == "," and self._look(1) in first:
            self._match(",", _Follow(first))
            element()

    def _list_init(self) -> None:
        self._elements(lambda: self._rule(self._opt_expr, _AFTER_ELEMENT), _OPTIONAL)

    def _map_init(self) -> None:
        self._elements(lambda: self._entry(self._opt_expr), _OPTIONAL)

    def _field_init(self) -> None:
        self._elements(lambda: self._entry(self._opt_field), _NAMES | {"?"})

    def _entry(self, key: Callable[[], None]) -> None:
        self._rule(key, _only(":"))
        self._match(":", _Follow(_EXPRESSION))
        self._rule(self._expr, _AFTER_ELEMENT)

    def _opt_expr(self) -> None:
        self._optional_mark()
        self._rule(self._expr, _END_OF_RULE)

    def _opt_field(self) -> None:
        self._sync(_Follow(_NAMES | {"?"}))
        if self._look() == "?":
            self._match("?", _Follow(_NAMES))
        self._rule(self._name, _END_OF_RULE)

    def _literal(self) -> None:
        if self._look() == "-":
            if self._look(1) not in _NUMBERS:
                raise self._no_alternative(1)
            self._match("-", _Follow(_NUMBERS))
        if self._look() not in _PRIMARY:
            raise self._no_alternative(0)
        self._match(self._look())


def _kind_text(kind: str) -> str:
    return kind if kind in _NAMED else f"'{kind}'"


def _set_text(kinds: Iterable[str]) -> str:
    """Return a set of kinds as ANTLR shows it: in the order of the grammar, alone without braces."""
    ordered = [END] if END in kinds else []
    ordered += [kind for kind in _ORDER if kind in kinds]
    texts = [_kind_text(kind) for kind in ordered]
    return texts[0] if len(texts) == 1 else f"{{{', '.join(texts)}}}"
