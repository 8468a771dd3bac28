"""Names of fields as expressions write them: what is no identifier there is escaped, as in `x__dash__y`."""

import re
from typing import Final

RESERVED: Final = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for"),
        *("function", "if", "import", "let", "loop", "package", "namespace", "return", "var"),
        *("void", "while"),
    )
)
_NAME = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*").fullmatch
_SIGNS: Final = {
    "__": "__underscores__",
    ".": "__dot__",
    "-": "__dash__",
    "/": "__slash__",
}
_ESCAPED = re.compile("__|[./-]").sub


def escape(name: str) -> str | None:
    """Return the identifier of a field, None if it cannot be written as one."""
    if name in RESERVED:
        return f"__{name}__"
    if _NAME(name) is None:
        return None
    return _ESCAPED(lambda sign: _SIGNS[sign[0]], name)
