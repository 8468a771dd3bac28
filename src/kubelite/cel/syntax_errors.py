"""Words for expressions that are no sentences of the grammar."""

from kubelite.cel.failures import Issue
from kubelite.cel.lexer import Tokens


def find_syntax_errors(tokens: Tokens) -> list[Issue]:
    return [*tokens.issues, Issue(tokens.positions[-1], "Syntax error")]
