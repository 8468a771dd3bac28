"""Splits an expression into tokens, by the lexical rules of the CEL specification.

A token's kind is its text for operators and keywords, else one of the names below. Positions count characters. What is
no token is skipped and reported as ANTLR's lexers do, whose wording users of cel-go know.
"""

import re
from typing import Final

from kubelite.cel.failures import Issue

END: Final = "<EOF>"
IDENTIFIER: Final = "IDENTIFIER"
ESCAPED: Final = "ESC_IDENTIFIER"
INT: Final = "NUM_INT"
UINT: Final = "NUM_UINT"
FLOAT: Final = "NUM_FLOAT"
STRING: Final = "STRING"
BYTES: Final = "BYTES"
KEYWORDS: Final = frozenset({"in", "true", "false", "null"})

_ESCAPE: Final = (
    r"\\(?:[abfnrtv\"'\\?`]|[0-3][0-7][0-7]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"
)
_TEXT: Final = (
    rf'(?:[rR](?:"""(?s:.*?)"""|\'\'\'(?s:.*?)\'\'\'|"[^"\n\r]*"|\'[^\'\n\r]*\')'
    rf'|"""(?:[^\\]|{_ESCAPE})*?"""'
    rf"|'''(?:[^\\]|{_ESCAPE})*?'''"
    rf'|"(?:[^\\"\n\r]|{_ESCAPE})*"'
    rf"|'(?:[^\\'\n\r]|{_ESCAPE})*')"
)
_TOKEN: Final = re.compile(
    rf"""(?P<space>[\t\r\n\f ]+|//[^\n]*)
    |(?P<STRING>{_TEXT})
    |(?P<BYTES>[bB]{_TEXT})
    |(?P<IDENTIFIER>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<NUM_FLOAT>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    |(?P<NUM_UINT>(?:0x[0-9a-fA-F]+|[0-9]+)[uU])
    |(?P<NUM_INT>0x[0-9a-fA-F]+|[0-9]+)
    |(?P<operator>==|!=|<=|>=|&&|\|\||[\[\]{{}}().,\-!?:+*/%<>])
    |(?P<ESC_IDENTIFIER>`[A-Za-z0-9_.\-/\ ]+`)""",
    re.VERBOSE,
)
_VIABLE: Final = (  # what may begin a token that then breaks off
    re.compile(rf"'(?:[^\\'\n\r]|{_ESCAPE})*"),
    re.compile(rf'"(?:[^\\"\n\r]|{_ESCAPE})*'),
    re.compile(r"`[A-Za-z0-9_.\-/ ]*"),
    re.compile(r"[&|=]"),
)
_PARTIAL_ESCAPE: Final = re.compile(
    r"\\(?:[xX][0-9a-fA-F]?|u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7}|[0-3][0-7]?)?"
)


class Tokens:
    """The tokens of an expression as three lists of equal length; the last is the end."""

    __slots__ = ("_skipped", "_text", "issues", "kinds", "positions", "texts")

    def __init__(self, text: str) -> None:
        self._text = text
        self._skipped: list[tuple[int, int]] = []
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.positions: list[int] = []
        self.issues: list[Issue] = []

    def add(self, kind: str, text: str, position: int) -> None:
        """Append a token."""
        self.kinds.append(kind)
        self.texts.append(text)
        self.positions.append(position)

    def skip(self, start: int, end: int, message: str) -> None:
        """Note characters that are no token."""
        self._skipped.append((start, end))
        self.issues.append(Issue(start, message))

    def text_between(self, first: int, last: int) -> str:
        """Return the text from one token to another, without what is no token."""
        position = self.positions[first]
        end = self.positions[last] + (0 if self.kinds[last] == END else len(self.texts[last]))
        parts: list[str] = []
        for start, stop in self._skipped:
            if position <= start < end:
                parts.append(self._text[position:start])
                position = stop
        return "".join((*parts, self._text[position:end]))


def tokenize(text: str) -> Tokens:
    """Return the tokens of an expression; what is none is skipped and listed in `issues`."""
    tokens = Tokens(text)
    kinds, texts, positions = tokens.kinds, tokens.texts, tokens.positions
    match = _TOKEN.match
    position = 0
    end = len(text)
    while position < end:
        found = match(text, position)
        if found is None:
            position = _skip(text, position, tokens)
            continue
        kind = found.lastgroup
        if kind != "space":
            token = found.group()
            if kind == "operator" or (kind == "IDENTIFIER" and token in KEYWORDS):
                kind = token
            kinds.append(kind or "")
            texts.append(token)
            positions.append(position)
        position = found.end()
    tokens.add(END, END, end)
    return tokens


def _skip(text: str, position: int, tokens: Tokens) -> int:
    """Report what begins at `position` and is no token; return where to go on, behind the character at fault."""
    fault = position
    for viable in _VIABLE:
        found = viable.match(text, position)
        if found is not None:
            fault = found.end()
            partial = _PARTIAL_ESCAPE.match(text, fault)
            if partial is not None and text[position] in "'\"":
                fault = partial.end()
            break
    skipped = text[position : fault + 1]
    message = f"Syntax error: token recognition error at: '{skipped}'"
    tokens.skip(position, fault + 1, message)
    return fault + 1
