"""Names for values within an expression: the macro ``cel.bind(name, value, expression)``."""

from typing import Final

from kubelite.cel import macros
from kubelite.cel.declarations import Library

LIBRARY: Final = Library("bindings", macros=macros.BINDINGS)
