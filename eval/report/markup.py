"""Pieces of HTML that the page is made of; arguments named *html* are markup already, all else is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from ..score import AS_REAL, CLOSE, DIFFERENT, NOT_MEASURED, UNDECIDED

KEPT, BROKEN = "kept", "broken"  # of a rule
CHIPS = {
    AS_REAL: ("as-real", "✓ As real"),
    CLOSE: ("close", "≈ Close"),
    DIFFERENT: ("different", "✕ Different"),
    UNDECIDED: ("not-measured", "? Undecided"),
    KEPT: ("as-real", "✓ Kept"),
    BROKEN: ("different", "✕ Broken"),
    NOT_MEASURED: ("not-measured", "Not measured"),
}


def card(title: str, html: str, name: str = "") -> str:
    """A section with a heading, which links may name."""
    anchor = f" id='{escape(name)}'" if name else ""
    return f"<section class='card'{anchor}><h2>{escape(title)}</h2>{html}</section>"


def listed(lines: Iterable[str]) -> str:
    """A list, a line an item."""
    return "<ul class='plain'>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def grid(heads: Sequence[str], html_rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table; the first cell of each row is its header."""
    head = "".join(f"<th scope='col'>{escape(h)}</th>" for h in heads)
    rows = "".join(
        f"<tr><th scope='row'>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>"
        for first, *rest in html_rows
    )
    about = f"<caption>{escape(caption)}</caption>" if caption else ""
    table = f"<table>{about}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<div class='scroll'>{table}</div>"


def under(text: str) -> str:
    """Small print below a figure."""
    return f"<span class='under'>{escape(text)}</span>"


def chip(verdict: str | None) -> str:
    """A verdict as a word with a sign, so that colour is not all that tells."""
    style, label = CHIPS[verdict or NOT_MEASURED]
    return f"<span class='chip {style}'>{label}</span>"
