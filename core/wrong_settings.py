"""What is wrong with settings, in the words of YAML in place of Python's and Pydantic's."""

import re

from pydantic_core import ErrorDetails

# What Pydantic names in a place where one of several types is allowed, or of a key
ALTERNATIVE = re.compile(
    r"(int|float|str|bool|none|\[key\])$|(tuple|list|dict|literal|constrained)\[|function-"
)
EXPECTED = {
    "tuple": "a list", "list": "a list", "int": "a whole number", "float": "a number", "bool": "true or false",
    "string": "text", "dict": "a mapping", "model": "a mapping of settings", "path": "a path",
}  # fmt: skip
BOUNDS = {
    "greater_than_equal": ("of {} or more", "ge"), "greater_than": ("above {}", "gt"),
    "less_than_equal": ("of at most {}", "le"), "less_than": ("below {}", "lt"),
}  # fmt: skip


def place(error: ErrorDetails) -> str:
    """The key that is wrong, with those that it lies below."""
    return ".".join(str(part) for part in error["loc"] if not ALTERNATIVE.match(str(part)))


def plainly(error: ErrorDetails) -> str:
    """What Pydantic says, in the words of YAML in place of Python's."""
    kind, said = error["type"], error["msg"]
    if kind == "missing":
        return "expected a value"
    if kind in ("too_long", "too_short"):
        limits = error["ctx"]
        most = kind == "too_long"
        return f"expected {'at most' if most else 'at least'} {limits['max_length' if most else 'min_length']} values"
    for start, expected in EXPECTED.items():
        if kind in (f"{start}_type", f"{start}_parsing", f"{start}_from_float"):
            return f"expected {expected}"
    if kind in BOUNDS:
        words, name = BOUNDS[kind]
        bound = error["ctx"][name]
        return f"expected a number {words.format(f'{bound:g}' if isinstance(bound, (int, float)) else bound)}"
    return said.replace("Input should be ", "expected ")
