"""The page: report.html as one file that needs nothing else, in light and dark, for a reader in a clinic."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..score import AS_REAL, CLOSE, DETAILED, NOT_MEASURED, QUESTIONS, QUOTED, Score
from . import words
from .link_section import linked
from .markup import CHIPS, card, chip, grid, listed, under
from .privacy_section import attacked
from .rules_section import ruled

if TYPE_CHECKING:
    from ..attacks.attack import PrivacyResult
    from ..linkage.linkage import Linkage
    from ..results import ViewResult

SHOWN_FEATURES = 8


def render(
    reports: Sequence["ViewResult"],
    link: "Linkage",
    privacy: "PrivacyResult",
    scores: Mapping[str, Any],
    without: Sequence[str],
) -> str:
    """The whole page."""
    folder = scores["reference"] == "folder"
    real_shown = any(report.real_pictured for report in reports)
    looked = scores["evaluated"]["patients"]
    quick = words.QUICK_LOOK.format(looked, scores["patients"]) if looked < scores["patients"] else ""
    body = [
        "<header><span class='badge'>Synthetic data</span><h1>How good are these synthetic patients?</h1>",
        f"<p class='lead'>{escape(words.headline(reports, scores['patients']))}</p>",
        f"<p class='soft'>{words.AGAINST_FOLDER if folder else words.AGAINST_SHIPPED}</p>",
        f"<p class='soft'>{quick}</p>" if quick else "",
        f"<p class='warning'>{words.REAL_SHOWN}</p>" if real_shown else "",
        "</header><main>",
        _summary(reports),
        _pictures(reports),
        card("Do the records of one patient belong together?", linked(link), "linkage"),
        card(words.RULES_HEAD, ruled(scores["rules"]), "rules"),
        card("Could a real patient be recognised?", attacked(privacy), "privacy"),
        *(_view(report) for report in reports),
        _unmeasured(reports, without),
        card("How it was measured", listed(words.METHOD)),
        f"</main><footer>Seed {scores['seed']}. The same numbers for programs are in scores.json ",
        f"({scores['format']}, version {scores['format_version']}).</footer>",
    ]
    style = (files("polyclinic.eval") / "style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Synthetic patients: evaluation</title>'
        f"<style>{style}</style></head><body>{''.join(body)}</body></html>\n"
    )


def gauge(score: Score) -> str:
    """A small drawing: the real baseline's range as a band, the value as a dot with its range."""
    low, high = score.scale
    left, wide = 8, 204

    def at(x: float) -> float:
        return round(left + wide * min(1.0, max(0.0, (x - low) / (high - low))), 1)

    assert score.value is not None
    band, own = score.real_baseline_interval or (low, low), score.interval or (score.value, score.value)
    style = CHIPS[score.verdict or NOT_MEASURED][0]
    label = f"{score.value:.3g} on a scale from {low:g} to {high:.2g}; real against real {_range(band)}"
    thick = max(2.0, round(at(band[1]) - at(band[0]), 1))
    return (
        f"<svg class='gauge' role='img' aria-label='{escape(label, quote=True)}' width='220' height='38'>"
        f"<line class='track' x1='{left}' x2='{left + wide}' y1='14' y2='14' stroke-width='2'/>"
        f"<rect class='band' x='{at(band[0])}' width='{thick}' y='5' height='18' rx='3'/>"
        f"<line class='{style}' x1='{at(own[0])}' x2='{at(own[1])}' y1='14' y2='14' stroke-width='3'/>"
        f"<circle class='{style}' cx='{at(score.value)}' cy='14' r='5.5'/>"
        f"<text x='{left}' y='36'>{low:g}</text>"
        f"<text x='{left + wide}' y='36' text-anchor='end'>{high:.2g}</text></svg>"
    )


def _range(pair: tuple[float, float] | None) -> str:
    return f"{pair[0]:.3g} to {pair[1]:.3g}" if pair else ""


# -- sections


def _summary(reports: Sequence["ViewResult"]) -> str:
    rows = [
        [f"<a href='#{escape(r.view.name)}'>{escape(r.view.title)}</a>"]
        + [chip(r.verdict(q)) + _figures(r, q) for q in QUESTIONS]
        + [_closer(r)]
        for r in reports
    ]
    heads = ["Record", *(words.ASKED[q] for q in QUESTIONS), words.CLOSER_HEAD]
    quoted = any(s.status == QUOTED for r in reports for s in r.scores)
    caption = words.SUMMARY_CAPTION + (words.QUOTED_CAPTION if quoted else "")
    return card("Verdict", grid(heads, rows, caption))


def _figures(report: "ViewResult", question: str) -> str:
    """Short figures below a chip of the summary."""
    lines = []
    for s in report.scores:
        if s.question != question or s.value is None or s.metric == "frechet":
            continue
        name = {"ks": "distance", "c2st_auc": "AUC"}.get(s.metric, f"AUROC, {s.task}")
        quoted = ", quoted" if s.status == QUOTED else ""
        lines.append(under(f"{name}: {s.value:.2f} (real {s.real_baseline:.2f}{quoted})"))
    return "".join(lines)


def _pictures(reports: Sequence["ViewResult"]) -> str:
    """The picture of each view, real beside synthetic records where real ones may be shown."""
    shown = []
    for report in reports:
        if report.picture:
            image, alt = b64encode(report.picture).decode(), escape(report.alt, quote=True)
            caption = escape(f"{report.alt} {words.NOT_CHOSEN}")
            title = escape(report.view.title)
            shown.append(
                f"<h3>{title}</h3><figure><img alt='{alt}' src='data:image/png;base64,{image}'>"
                f"<figcaption>{caption}</figcaption></figure>"
            )
    return card(words.PICTURES, "".join(shown), "pictures") if shown else ""


def _closer(report: "ViewResult") -> str:
    """How many of the finer figures are well, by question."""
    lines = []
    for question in DETAILED:
        own = [s for s in report.scores if s.question == question and s.value is not None]
        well = sum(s.verdict in (AS_REAL, CLOSE) for s in own)
        lines += [under(f"{words.CLOSER[question]}: {well} of {len(own)}")] if own else []
    return "".join(lines) or chip(NOT_MEASURED)


def _view(report: "ViewResult") -> str:
    parts = []
    measured = [s for s in report.scores if s.value is not None]
    if first := [s for s in measured if s.question in QUESTIONS]:
        parts.append("<h3>In words</h3>" + listed(s.sentence + _when(s) for s in first))
        parts.append("<h3>Figures</h3>" + _table(first, words.GAUGE_CAPTION))
    if detailed := sorted(
        (s for s in measured if s.question in DETAILED), key=lambda s: DETAILED.index(s.question)
    ):
        sentences = listed(s.sentence + _when(s) for s in detailed)
        table = _table(detailed, words.CLOSER_CAPTION)
        parts.append(f"<h3>Closer looks</h3>{table}<details><summary>In words</summary>{sentences}</details>")
        parts.append(_groups(detailed))
    parts.append(f"<div class='two'>{_population(report)}{_features(report)}</div>")
    parts.append(f"<p class='note'>{escape(report.view.about)}</p>")
    return card(report.view.title, "".join(parts), report.view.name)


def _when(score: Score) -> str:
    return f" {words.QUOTED}" if score.status == QUOTED else ""


def _groups(scores: Sequence[Score]) -> str:
    """Error by subgroup, a table a task."""
    tables = []
    for s in scores:
        if rows := s.details.get("groups"):
            cells = [
                [escape(r["group"]), str(r["rows"]), f"{r['error']:.3f}", f"{r['real']:.3f}"] for r in rows
            ]
            heads = ("Group", "Real test records", "Trained on synthetic", "Trained on real")
            tables.append(grid(heads, cells, f"{str(s.task).capitalize()}: Brier score, lower is better."))
    return f"<details><summary>Error by subgroup</summary>{''.join(tables)}</details>" if tables else ""


def _table(scores: Sequence[Score], caption: str) -> str:
    rows = [
        [
            escape(s.title) + under(f"{s.direction}.{_when(s)}"),
            f"{s.value:.3g}" + under(_range(s.interval)),
            f"{s.real_baseline:.3g}" + under(_range(s.real_baseline_interval)),
            gauge(s),
            chip(s.verdict),
        ]
        for s in scores
    ]
    heads = ("Measurement", "Synthetic (95 % range)", "Real against real (95 % range)", "Drawn", "Verdict")
    return grid(heads, rows, caption)


def _population(report: "ViewResult") -> str:
    """Who was compared with whom."""

    def age(p: Mapping[str, Any]) -> str:
        quartiles = p["age_quartiles"]
        return f"{quartiles[0]:g} to {quartiles[2]:g}" if quartiles else "unknown"

    lines: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "Patients": lambda p: str(p["patients"]),
        "Records": lambda p: str(p["records"]),
        "Age, middle half (years)": age,
        "Women": lambda p: "unknown" if p["female"] is None else f"{p['female']:.0%}",
    }
    comparisons = (report.synthetic, report.real)
    rows = [[name, *(line(p) if p else "none" for p in comparisons)] for name, line in lines.items()]
    table = grid(("Group", "Synthetic", "Real, held out"), rows)
    return f"<div><h3>Who was compared</h3>{table}<p class='note'>{words.MIX}</p></div>"


def _features(report: "ViewResult") -> str:
    """The features with the largest distance."""
    worst = sorted(report.features.items(), key=lambda item: -item[1])[:SHOWN_FEATURES]
    if not worst:
        return ""
    rows = [
        [escape(name), f"{value:.2f}", f"<div class='bar'><i style='width:{100 * value:.0f}%'></i></div>"]
        for name, value in worst
    ]
    return f"<div><h3>What differs most</h3>{grid(('Measurement', 'Distance', '0 to 1'), rows)}</div>"


def _unmeasured(reports: Sequence["ViewResult"], without: Sequence[str]) -> str:
    lines = [*words.NEVER]
    for r in reports:
        # what has one reason stands in one line
        for reason in dict.fromkeys(s.reason for s in r.scores if s.reason):
            titles = "; ".join(s.title for s in r.scores if s.reason == reason)
            lines.append(f"{r.view.title}: {titles}: {reason}.")
    lines += [f"{r.view.title}: {blind}." for r in reports for blind in r.view.blind]
    lines += [f"{name.capitalize()}: there are no real ones to compare with." for name in without]
    return card("What was not measured", f"<p>{words.NOT_COVERED}</p>" + listed(lines))
