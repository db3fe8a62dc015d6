"""The report's section on clinical rules: each rule by name, and how often the records break it."""

from collections.abc import Mapping
from html import escape
from typing import Any

from . import words
from .markup import BROKEN, KEPT, chip, grid, listed, under


def ruled(found: Mapping[str, Any]) -> str:
    """The section's markup, of what rules.rules() found."""
    parts = [f"<p>{escape(found['in_words'])}</p>"]
    broken: Mapping[str, int] = found["by_rule"]
    rules = {**found["checked"], **{name: "" for name in broken if name not in found["checked"]}}
    if rules:
        rows = [
            [
                escape(name.replace("-", " ").capitalize()) + under(says),
                str(broken.get(name, 0)),
                chip(BROKEN if broken.get(name) else KEPT),
            ]
            for name, says in sorted(rules.items(), key=lambda item: (-broken.get(item[0], 0), item[0]))
        ]
        table = grid(("Rule", "Breaches", ""), rows, words.RULES_CAPTION)
        parts.append(f"<details><summary>{len(rules)} rules</summary>{table}</details>")
    if found["first"]:
        lines = [f"{one['patient_id']}: {one['rule']}: {one['says']}" for one in found["first"]]
        parts.append("<h3>The first breaches</h3>" + listed(lines))
    return "".join(parts)
