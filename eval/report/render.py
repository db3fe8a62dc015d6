"""Rendering: report.html as one file that needs nothing else, from the Jinja2 templates beside it."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ..attacks.attack import PrivacyResult
from ..attacks.attack_result import FOR_TPR
from ..linkage.linkage import Linkage
from ..metrics.classifier import CLOSE_AUC, LEAST_OF_CLASS
from ..metrics.distances import CLOSE_BY, LEAST
from ..metrics.tstr import CLOSE_SHARE
from ..results import ViewResult
from ..score import (
    AS_REAL,
    CALIBRATION,
    CLOSE,
    DEPENDENCE,
    DIFFERENT,
    FURTHER,
    IMAGES,
    MARGINALS,
    NOT_MEASURED,
    OMICS,
    QUESTIONS,
    RARE,
    TIME_SERIES,
    UNDECIDED,
    Score,
)

SHOWN = 20  # lines of a list that has more
LEFT, WIDE = 8, 204  # of a gauge, in pixels
CHIPS = {  # a verdict as a word with a sign, so that colour is not all that tells
    AS_REAL: ("as-real", "✓ As real"),
    CLOSE: ("close", "≈ Close"),
    DIFFERENT: ("different", "✕ Different"),
    UNDECIDED: ("not-measured", "? Undecided"),
    "kept": ("as-real", "✓ Kept"),
    "broken": ("different", "✕ Broken"),
    NOT_MEASURED: ("not-measured", "Not measured"),
}
HEADS = {
    MARGINALS: "Marginals",
    DEPENDENCE: "Dependence",
    TIME_SERIES: "Time series",
    IMAGES: "Images",
    OMICS: "Omics",
    RARE: "Rare and extreme",
    CALIBRATION: "TRTS, calibration, subgroups",
    FURTHER: "Further metrics",
}
NEVER = (
    "Distances within small groups: rare diseases, and each age, sex and origin by itself.",
    "How a physician would judge the records. Nobody has read them for this report.",
)


def render(
    views: Sequence[ViewResult],
    linkage: Linkage,
    privacy: PrivacyResult,
    scores: Mapping[str, Any],
    without: Sequence[str],
) -> str:
    """The whole page; scores as in scores.json, `without` the modalities that have no real counterpart."""
    return section(
        "report",
        headline=headline(views, scores["patients"]),
        views=views,
        linkage=linkage,
        privacy=privacy,
        scores=scores,
        uncovered=uncovered(views, without),
    )


def section(template: str, **context: Any) -> str:
    """One of the templates, by name: report, view, linkage, rules, privacy, methods."""
    return environment().get_template(f"{template}.html.j2").render(**context)


@cache
def environment() -> Environment:
    """The engine: all that is inserted is escaped, and an unknown name is an error."""
    found = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["span"] = span
    found.filters["percent"] = lambda share, digits=1: f"{share:.{digits}%}"
    found.filters["base64"] = lambda content: b64encode(content).decode()
    found.filters["shown"] = shown
    found.filters["upfirst"] = lambda text: text[:1].upper() + text[1:]  # keeps the case of ECG and PAM50
    found.filters["labelled"] = labelled
    found.globals |= {
        "chips": CHIPS,
        "questions": QUESTIONS,
        "detailed": HEADS,
        "place": place,
        "controls_for_tpr": FOR_TPR,
        "least_patients": LEAST,
        "least_of_class": LEAST_OF_CLASS,
        "close_by": CLOSE_BY,
        "close_auc": CLOSE_AUC,
        "close_share": CLOSE_SHARE,
    }
    return found


def span(pair: tuple[float, float] | None, form: str = "%.2f") -> str:
    """Both ends of a range; nothing where there is none."""
    return f"{form % pair[0]} to {form % pair[1]}" if pair else ""


def labelled(rows: Markup, heads: Sequence[str]) -> Markup:
    """The rows of a table, as the templates write them, with roles, and with its column's head on each cell."""

    def row(cells: re.Match[str]) -> str:
        left = iter([head + ("" if head.endswith("?") else ":") for head in heads[1:]])
        return re.sub(r"<td\b", lambda _: f'<td role="cell" data-head="{escape(next(left))}"', cells[0])

    marked = re.sub(r"<tr>.*?</tr>", row, rows, flags=re.DOTALL)
    return Markup(
        marked.replace("<tr>", '<tr role="row">').replace("<th scope", '<th role="rowheader" scope')
    )


def place(score: Score, x: float) -> float:
    """Where a number stands on a score's gauge, in pixels."""
    low, high = score.scale
    return round(LEFT + WIDE * min(1.0, max(0.0, (x - low) / (high - low))), 1)


def shown(rows: Sequence[object]) -> list[str]:
    """The first rows as text, and how many more there are."""
    more = len(rows) - SHOWN
    return [*map(str, rows[:SHOWN]), *([f"{more} more are in scores.json."] if more > 0 else [])]


def headline(views: Sequence[ViewResult], patients: int) -> str:
    """The verdict in a few sentences."""
    kinds = "one kind" if len(views) == 1 else f"{len(views)} kinds"
    said = [f"{patients} synthetic patients, {kinds} of records."]
    answered = 0
    for question, sentence in (
        ("c2st", "In {} of {} a classifier hardly separates them from real ones."),
        ("tstr", "In {} of {} they train a model about as well as real records do."),
    ):
        found = [v for view in views if (v := view.verdict(question)) not in (NOT_MEASURED, UNDECIDED)]
        answered += len(found)
        if found:
            said.append(sentence.format(sum(v in (AS_REAL, CLOSE) for v in found), len(found)))
    if answered < 2 * len(views):
        said.append("Some questions could not be answered; the reasons are below.")
    return " ".join(said)


def uncovered(views: Sequence[ViewResult], without: Sequence[str]) -> list[str]:
    """What no verdict covers; scores that share a reason stand in one line."""
    lines = [*NEVER]
    for view in views:
        for reason in dict.fromkeys(s.reason for s in view.scores if s.reason):
            titles = "; ".join(s.title for s in view.scores if s.reason == reason)
            lines.append(f"{view.view.title}: {titles}: {reason}.")
    lines += [f"{view.view.title}: {blind}." for view in views for blind in view.view.blind]
    return lines + [f"{name.capitalize()}: there are no real ones to compare with." for name in without]
