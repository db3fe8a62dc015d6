"""Text for people: the only place that prints, so that what files say is shown as text and never drives a terminal."""

import re
import sys

_ORDERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: object) -> str:
    r"""Text in which escapes, other control characters, marks of direction and lone surrogates are spelt out.

    >>> shown("a\x1b[31m")
    'a\\x1b[31m'
    """
    return _ORDERS.sub(lambda found: ascii(found[0])[1:-1], str(text))


def say(text: object, aside: bool = False, end: str = "\n") -> None:
    """Print a line of results to stdout or, `aside`, one about the work to stderr."""
    print(shown(text), end=end, file=sys.stderr if aside else sys.stdout, flush=aside)
