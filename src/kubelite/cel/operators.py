"""The names under which operators are declared as functions."""

from typing import Final

AND: Final = "_&&_"
OR: Final = "_||_"
NOT: Final = "!_"
NEGATE: Final = "-_"
CONDITIONAL: Final = "_?_:_"
ADD: Final = "_+_"
SUBTRACT: Final = "_-_"
MULTIPLY: Final = "_*_"
DIVIDE: Final = "_/_"
MODULO: Final = "_%_"
EQUALS: Final = "_==_"
NOT_EQUALS: Final = "_!=_"
LESS: Final = "_<_"
LESS_EQUALS: Final = "_<=_"
GREATER: Final = "_>_"
GREATER_EQUALS: Final = "_>=_"
IN: Final = "@in"
INDEX: Final = "_[_]"
OPTIONAL_INDEX: Final = "_[?_]"
OPTIONAL_SELECT: Final = "_?._"
NOT_STRICTLY_FALSE: Final = "@not_strictly_false"
MAP_INSERT: Final = "cel.@mapInsert"
ACCUMULATOR: Final = "@result"  # no expression can name it

RELATIONS: Final = {
    "==": EQUALS,
    "!=": NOT_EQUALS,
    "<": LESS,
    "<=": LESS_EQUALS,
    ">": GREATER,
    ">=": GREATER_EQUALS,
    "in": IN,
}
PRODUCTS: Final = {"*": MULTIPLY, "/": DIVIDE, "%": MODULO}
SUMS: Final = {"+": ADD, "-": SUBTRACT}
