"""Compiles expressions against declarations, and keeps the programs.

An environment has the standard functions, those of libraries, and variables with their types. One that extends another
shares its functions. Programs are shared by their text, so the same rule on many objects is compiled once.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from msgspec import Struct

from kubelite.cel.ast import Node
from kubelite.cel.checker import Checker, Signature, signatures_of
from kubelite.cel.comparisons import compares_lists
from kubelite.cel.cost import CostEstimator, SizeEstimator
from kubelite.cel.declarations import Estimate, Field, Function, Library, Range, StructType
from kubelite.cel.exact import ExactCompiler
from kubelite.cel.failures import CompileFailed
from kubelite.cel.fast import UNEXPECTED, FastCompiler
from kubelite.cel.frame import COST, LIMIT, MISSING, WORK, CostExceeded, Frame, Run
from kubelite.cel.macros import STANDARD as STANDARD_MACROS
from kubelite.cel.parser import MacroTable, macro_table, parse
from kubelite.cel.planner import Planner, Read
from kubelite.cel.recursion import deep_recursion
from kubelite.cel.standard import STANDARD
from kubelite.cel.types import DYN, Kind, Type
from kubelite.cel.validation import children, find_literal_issues
from kubelite.cel.values import EvaluationFailed, Value
from kubelite.limits import EXPRESSION_COST, EXPRESSION_PROGRAMS, EXPRESSION_WORK
from kubelite.remembered import remembered

COST_LIMIT: Final = EXPRESSION_COST.value
_LENGTH_SHARED: Final = 4096  # characters of an expression whose program is kept
_LENGTH_SHORT: Final = 1000  # characters that are compiled in some milliseconds
_SHALLOW: Final = 40  # levels of nodes that Python's usual limit on recursion has room for


class Functions:
    """The functions, macros and types of libraries, by name."""

    def __init__(self, libraries: Sequence[Library]) -> None:
        self.functions: dict[str, Function] = {}
        self.types: dict[str, Type] = {}
        self.equality: dict[str, Estimate] = {}
        macros = list(STANDARD_MACROS)
        for library in libraries:
            for function in library.functions:
                self._add(function)
            self.types.update((type_.name, type_) for type_ in library.types)
            self.equality.update(library.equality)
            macros.extend(library.macros)
        self.macros: MacroTable = macro_table(macros)
        self.signatures = {
            name: signatures_of(function) for name, function in self.functions.items()
        }

    def _add(self, function: Function) -> None:
        known = self.functions.get(function.name)
        if known is not None:
            function = Function(
                function.name,
                known.overloads + function.overloads,
                validate=function.validate or known.validate,
                allows_mixed_literals=known.allows_mixed_literals or function.allows_mixed_literals,
            )
        self.functions[function.name] = function


class Environment:
    """Declarations of an expression's surroundings."""

    def __init__(
        self,
        libraries: Sequence[Library] = (),
        *,
        variables: Mapping[str, Type | Field] | None = None,
        structs: Mapping[str, StructType] | None = None,
        sizes: SizeEstimator | None = None,
        container: str = "",
        _functions: Functions | None = None,
    ) -> None:
        """Declare variables by name, and object types by theirs; `sizes` estimates those of what a path leads to."""
        self._functions = _functions or Functions((STANDARD, *libraries))
        self.variables = {
            name: declared if isinstance(declared, Field) else Field(declared)
            for name, declared in (variables or {}).items()
        }
        self.structs = {} if structs is None else structs
        self.sizes = sizes
        self.container = container
        names = (*self.variables, *self.structs, *self._functions.types, *self.functions)
        self.name_parts_max = max(name.count(".") for name in names) + 1
        self.compile = remembered(EXPRESSION_PROGRAMS.value, length_max=_LENGTH_SHARED)(
            self._compile
        )

    def extended(
        self,
        *,
        variables: Mapping[str, Type | Field] | None = None,
        structs: Mapping[str, StructType] | None = None,
        sizes: SizeEstimator | None = None,
    ) -> "Environment":
        """Return an environment with more variables and types; it keeps programs of its own."""
        return Environment(
            variables={**self.variables, **(variables or {})},
            structs=_joined(self.structs, structs),
            sizes=sizes or self.sizes,
            container=self.container,
            _functions=self._functions,
        )

    @property
    def functions(self) -> Mapping[str, Function]:
        """Return all functions by name."""
        return self._functions.functions

    @property
    def signatures(self) -> Mapping[str, Sequence[Signature]]:
        """Return the overloads of all functions by name."""
        return self._functions.signatures

    @property
    def equality(self) -> dict[str, Estimate]:
        """Return the estimates of comparisons that libraries declare, by the name of a type."""
        return self._functions.equality

    def variable_type(self, name: str) -> Type | None:
        """Return the type of a variable."""
        declared = self.variables.get(name)
        return None if declared is None else declared.type

    def named_type(self, name: str) -> Type | None:
        """Return the type that a name stands for."""
        found = self._functions.types.get(name)
        if found is None and name in self.structs:
            return Type(Kind.STRUCT, name)
        return found

    def _compile(self, text: str) -> "Program":
        """Return the program of an expression; raises CompileFailed and ProgramFailed."""
        tree = parse(text, self._functions.macros)
        height = _height(tree)
        with deep_recursion(height > _SHALLOW):
            checker = Checker(self)
            checker.run(tree)
            issues = checker.issues or find_literal_issues(tree, self.functions)
            if issues:
                raise CompileFailed(text, issues)
            return Program(self, tree, is_deep=height > _SHALLOW, length=len(text))


def _joined(
    first: Mapping[str, StructType], second: Mapping[str, StructType] | None
) -> Mapping[str, StructType]:
    """Return both; one alone is kept as it is, since it may make its types when they are needed."""
    if second is None:
        return first
    return {**first, **second} if first else second


def _height(tree: Node) -> int:
    """Return how many nodes stand above each other at most."""
    height = 0
    level = [tree]
    while level:
        height += 1
        level = [child for node in level for child in children(node)]
    return height


class Evaluation(Struct, frozen=True):
    """The outcome of an evaluation: its cost, and a value, or an EvaluationFailed if there is none."""

    value: Value
    cost: int


class Program:
    """An expression that can be evaluated; it holds no state of evaluations."""

    def __init__(self, environment: Environment, tree: Node, *, is_deep: bool, length: int) -> None:
        """Compile a checked tree; raises ProgramFailed where a constant part has no value.

        `length` is that of the text in characters: the first evaluation that fails compiles the tree once more.
        """
        self.length = length
        self._environment = environment
        self._tree = tree
        self._is_deep = is_deep
        self.type = tree.type or DYN
        planner = Planner(environment.functions, environment.structs)
        self._run, self._cost = FastCompiler(planner).compile(tree)
        self._slots = self._readers(planner)
        self._template: Frame = [None] * planner.slot_count
        self._template[COST] = 0

    def _readers(self, planner: Planner) -> list[tuple[str, int, Read]]:
        """Return the variables that the expression uses: names, slots, and what converts their values."""
        declared = self._environment.variables
        return [
            (name, slot, declared[name].read if name in declared else None)
            for name, slot in planner.variables.items()
        ]

    @property
    def variables(self) -> frozenset[str]:
        """Return the names of the variables that the expression uses."""
        return frozenset(name for name, _, _ in self._slots)

    @cached_property
    def compares_lists(self) -> bool:
        """Return whether it may compare or join lists, or what may hold lists."""
        return compares_lists(self._tree)

    @cached_property
    def cost(self) -> Range:
        """Return what an evaluation costs at least and at most."""
        with deep_recursion(self._is_deep):
            estimator = CostEstimator(self._environment.sizes, self._environment.equality)
            return estimator.cost(self._tree)

    def evaluate(
        self,
        variables: Mapping[str, Value],
        limit: int = COST_LIMIT,
        work: int = EXPRESSION_WORK.value,
    ) -> Evaluation:
        """Return the value and the cost of an evaluation; raises CostExceeded past the limit.

        `work` is how many elements it may compare and copy. A variable that is missing fails where it is needed.
        """
        if not self._is_deep:
            try:
                return self._evaluate(variables, limit, work)
            except RecursionError:  # a value that nests as deep as a document may
                pass
        with deep_recursion(is_needed=True):
            return self._evaluate(variables, limit, work)

    def _evaluate(self, variables: Mapping[str, Value], limit: int, work: int) -> Evaluation:
        frame = self._template.copy()
        frame[LIMIT] = limit
        frame[WORK] = work
        try:
            for name, slot, read in self._slots:
                value = variables[name]
                frame[slot] = value if read is None else read(value)
            value = self._run(frame)
        except UNEXPECTED:
            if self.length > _LENGTH_SHORT and limit < COST_LIMIT and "_exact" not in self.__dict__:
                # Compiling once more takes long, so whoever has a small allowance comes again without one.
                raise CostExceeded from None
            return self._evaluate_exactly(variables, limit, work)
        cost = frame[COST] + self._cost
        if cost > limit:
            raise CostExceeded
        return Evaluation(value, cost)

    @cached_property
    def _exact(self) -> tuple[Run, Planner]:
        planner = Planner(self._environment.functions, self._environment.structs)
        return ExactCompiler(planner).compile(self._tree), planner

    def _evaluate_exactly(
        self, variables: Mapping[str, Value], limit: int, work: int
    ) -> Evaluation:
        run, planner = self._exact
        frame: Frame = [None] * planner.slot_count
        frame[COST], frame[LIMIT], frame[WORK] = 0, limit, work
        for name, slot, read in self._readers(planner):
            frame[slot] = _given(variables, name, read)
        try:
            value = run(frame)
        except EvaluationFailed as error:
            value = error
        if frame[COST] > limit:
            raise CostExceeded
        return Evaluation(value, frame[COST])


def _given(variables: Mapping[str, Value], name: str, read: Read) -> Value:
    """Return the value of a variable, the error of its conversion, or that it is missing."""
    if name not in variables:
        return MISSING
    try:
        value = variables[name]
        return value if read is None else read(value)
    except EvaluationFailed as error:
        return error
