"""The report's section on privacy: the strongest attack first, then all, copies, and what was not measured."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from ..attacks.attack_result import FOR_TPR
from .markup import grid, listed, under

if TYPE_CHECKING:
    from ..attacks.attack import PrivacyResult
    from ..attacks.attack_result import AttackResult
    from ..attacks.memorization import Memorization

SHOWN = 20
LEAD = (
    "Could somebody who holds this cohort recognise a real patient, or learn something of one? Each attack is made "
    "on patients whose data the generator may have seen (members) and on as real ones it has not (controls)."
)
CAPTION = (
    "AUC: how often the attack puts a member above a control; 0.5 is chance, 1 is certainty. By chance: where "
    "it lies, 19 times in 20, if nothing sets members apart. At 1 % false alarms: the share of members "
    "found where one control in a hundred is wrongly accused; the range is exact given that limit."
)
COPIED = (
    "Exact: no farther from a real patient than rounding in files; near: at most half as far as the nearest other "
    "real patient, or the same order of all measurements. The generator has not seen the controls: what is near "
    "them is chance."
)
NO_PROOF = (
    "Attacks that fail are no proof: a better one may succeed. What holds against every attack is the epsilon of "
    "private training, if the weights have one. Members are the training rows of the reference folder; if the "
    "generator learnt from others, these figures say nothing of those."
)
DRIFT = "What sets training patients apart as a group, as years or sites do, may show in an AUC, too."


def attacked(found: "PrivacyResult") -> str:
    """The section's markup."""
    parts = [f"<p>{escape(found.in_words)}</p><p class='soft'>{escape(LEAD)}</p>"]
    measured = sorted((row for row in found.attacks if row.auc is not None), key=lambda row: -(row.auc or 0))
    if (top := found.strongest) is not None:
        parts.append("<h3>The strongest attack</h3>" + listed([f"{top.title}. {top.in_words}"]))
        parts.append("<h3>Every attack</h3>" + _attacks(measured))
    if found.memorization:
        parts.append("<h3>Copies</h3>" + _memorization(found.memorization))
    if found.identifiers:
        lines = [f"{one.where}: {one.what}" for one in found.identifiers[:SHOWN]]
        more = len(found.identifiers) - SHOWN
        parts.append(
            "<h3>Traces of persons</h3>"
            + listed([*lines, *([f"{more} more are in scores.json."] if more > 0 else [])])
        )
    parts.append("<h3>Audits of private trainers</h3>" + listed(_audits(found)))
    left = [f"{row.title}: {row.reason}." for row in found.attacks if row.auc is None]
    left += [] if found.identifiers is not None else ["Identifiers in files: there are no files."]
    if left:
        parts.append("<h3>Not measured</h3>" + listed(left))
    parts.append(f"<p class='note'>{escape(NO_PROOF)} {escape(DRIFT)}</p>")
    return "".join(parts)


def _audits(found: "PrivacyResult") -> list[str]:
    if found.audits is None:
        return ["Not measured: this cohort does not say which weights drew it."]
    return [row.in_words for row in found.audits] or ["Not measured: no weights drew this cohort."]


def _attacks(rows: Sequence["AttackResult"]) -> str:
    heads = ("Attack", "AUC (95 % range)", "By chance", "Found at 1 % false alarms")
    return grid(heads, [_cells(row) for row in rows], CAPTION)


def _cells(row: "AttackResult") -> list[str]:
    sizes = f"{row.members} members, {row.controls} controls"
    if row.tpr_at_1_fpr is None or row.tpr_interval is None:
        found = "Not measured" + under(f"needs {FOR_TPR} controls")
    else:
        found = f"{row.tpr_at_1_fpr:.1%}" + under(f"{row.tpr_interval[0]:.1%} to {row.tpr_interval[1]:.1%}")
    return [
        escape(row.title) + under(sizes),
        f"{row.auc:.2f}" + under(_range(row.interval)),
        _range(row.chance_interval),
        found,
    ]


def _memorization(rows: Sequence["Memorization"]) -> str:
    cells = [
        [
            escape(row.title) + under(f"{row.records} synthetic records"),
            str(row.exact),
            f"{row.near}" + under(f"of {row.members} members"),
            f"{row.control_near}" + under(f"of {row.controls} controls"),
        ]
        for row in rows
    ]
    return grid(("Record", "Exact copies", "Near a member", "Near a control"), cells, COPIED)


def _range(pair: tuple[float, float] | None) -> str:
    return "" if pair is None else f"{pair[0]:.2f} to {pair[1]:.2f}"
