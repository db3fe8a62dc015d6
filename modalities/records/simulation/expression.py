"""Expression: the guards and sums that a course states, parsed once, checked, and evaluated without Python's eval.

Numbers, names, strings, + - * /, comparisons (also chained), and, or, not, `a if b else c`, and the
functions below. What is unknown is None: sums with it are None, comparisons with it are false.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from random import Random
from typing import Any, Protocol


class Scope(Protocol):
    """What an expression may ask for: values by name, and randomness. course_run.CourseRun satisfies it."""

    rng: Random

    def look(self, name: str) -> Any:
        """The value of a name, None where it is unknown."""
        ...

    def creatinine_at(self, egfr: float) -> float | None:
        """The creatinine (mg/dL) that gives this patient an eGFR (mL/min/1.73 m2) now."""
        ...


def _surface(scope: Scope, height: float, weight: float) -> float:
    """Body surface in m2 of cm and kg. Source: Mosteller, N Engl J Med 1987;317:1098."""
    return math.sqrt(height * weight / 3600)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "min": lambda scope, *values: min(values),
    "max": lambda scope, *values: max(values),
    "round_to": lambda scope, value, step: round(value / step) * step,
    "surface": _surface,
    "creatinine_at": lambda scope, egfr: scope.creatinine_at(egfr),
    "uniform": lambda scope, low, high: scope.rng.uniform(low, high),
    "normal": lambda scope, mean, spread: scope.rng.gauss(mean, spread),
    "drawn": lambda scope, chance: scope.rng.random() < chance,
}
_SUMS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_COMPARED = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_Part = Callable[[Scope], Any]


class Expression:
    """A parsed expression. Raises ValueError for what the language above does not have."""

    def __init__(self, text: str | float | bool) -> None:
        self.text = str(text)
        self.names: set[str] = set()
        try:
            tree = ast.parse(self.text.strip(), mode="eval")
        except SyntaxError as error:
            raise ValueError(f"{self.text!r} cannot be read ({error.msg})") from None
        self._value = self._part(tree.body)

    def __repr__(self) -> str:
        return self.text

    def __call__(self, scope: Scope) -> Any:
        """The value in this scope; None where something needed is unknown."""
        return self._value(scope)

    def _part(self, node: ast.expr) -> _Part:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as constant):
                return lambda scope: constant
            case ast.Name(id=name):
                if name in ("true", "false"):
                    return lambda scope: name == "true"
                self.names.add(name)
                return lambda scope: scope.look(name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _SUMS:
                return _known(_SUMS[type(op)], self._part(left), self._part(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _known(operator.neg, self._part(operand))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._part(operand)
                return lambda scope: not inner(scope)
            case ast.BoolOp(op=op, values=values):
                parts, whole = (
                    [self._part(value) for value in values],
                    all if isinstance(op, ast.And) else any,
                )
                return lambda scope: whole(part(scope) for part in parts)
            case ast.Compare(left=first, ops=ops, comparators=others) if all(
                type(op) in _COMPARED for op in ops
            ):
                sides = [self._part(side) for side in (first, *others)]
                return _chain([_COMPARED[type(op)] for op in ops], sides)
            case ast.IfExp(test=test, body=body, orelse=other):
                asked, yes, no = self._part(test), self._part(body), self._part(other)
                return lambda scope: yes(scope) if asked(scope) else no(scope)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                if name not in FUNCTIONS:
                    near = get_close_matches(name, FUNCTIONS, n=1, cutoff=0.0)[0]
                    raise ValueError(f"unknown function {name!r}; the nearest known one is {near!r}")
                return _called(FUNCTIONS[name], [self._part(argument) for argument in arguments])
        raise ValueError(f"{ast.unparse(node)!r} is not part of the language of courses")


def _known(operation: Callable[..., Any], *parts: _Part) -> _Part:
    def value(scope: Scope) -> Any:
        values = [part(scope) for part in parts]
        return None if None in values else operation(*values)

    return value


def _called(function: Callable[..., Any], parts: list[_Part]) -> _Part:
    def value(scope: Scope) -> Any:
        values = [part(scope) for part in parts]
        return None if None in values else function(scope, *values)

    return value


def _chain(operations: list[Callable[[Any, Any], bool]], sides: list[_Part]) -> _Part:
    def value(scope: Scope) -> bool:
        values = [side(scope) for side in sides]
        if None in values:
            return False
        return all(op(a, b) for op, a, b in zip(operations, values, values[1:], strict=False))

    return value
