"""The report's templates: every name that comes from data is escaped, and an unknown name is an error."""

from typing import Any

import jinja2
import pandas as pd
import pytest

from polyclinic.core.modality import View
from polyclinic.eval.attacks.attack import PrivacyResult
from polyclinic.eval.attacks.attack_result import AttackResult
from polyclinic.eval.attacks.audit_record import Audited
from polyclinic.eval.attacks.identifiers import Identifier
from polyclinic.eval.attacks.memorization import Memorization
from polyclinic.eval.linkage.consistency import Consistency, Contradiction
from polyclinic.eval.linkage.linkage import Linkage
from polyclinic.eval.report.render import SHOWN, environment, render, section, shown
from polyclinic.eval.results import ViewResult
from polyclinic.eval.score import MEASURED, Score, not_measured

EVIL = "<script>alert('x')</script>\"'"


def view(name: str) -> ViewResult:
    """A view in which each name is the same text."""
    shape = View(name, name, "x", lambda records: pd.DataFrame(), (), lambda *_: "", name, (name,))
    details: dict[str, Any] = {"groups": [{"group": name, "rows": 30, "error": 0.2, "real": 0.1}]}
    numbers: dict[str, Any] = {"value": 0.4, "interval": (0.3, 0.5), "real_baseline": 0.3,
                               "real_baseline_interval": (0.2, 0.4), "verdict": "close", "direction": name}  # fmt: skip
    scores = [
        Score("tstr_auroc", name, "tstr", MEASURED, task=name, sentence=name, **numbers),
        Score(
            "worst_subgroup",
            name,
            "calibration",
            MEASURED,
            task=name,
            sentence=name,
            details=details,
            **numbers,
        ),
        not_measured("ks", name, "distance", name),
    ]
    who = {"patients": 3, "records": 3, "age_quartiles": [1.0, 2.0, 3.0], "female": 0.5}
    return ViewResult(name, shape, scores, {name: 0.5}, who, None, b"png", name, True)


def page(name: str) -> str:
    """A report in which each name that data give is the same text."""
    linkage = Linkage(
        [Consistency(name, None, (name,), 40, 39, 0.1, 0.1), Consistency(name, name, (name,), 40, 20, 0.1, 0.1, 2.0)],
        [Contradiction(name, name, ((name, name),))], [], [],
    )  # fmt: skip
    privacy = PrivacyResult(
        [AttackResult(name, name, name, reason=name)],
        [Memorization(name, name, name, 0, 0, 10, 0, 20, 20)],
        [Identifier(name, name)],
        [Audited(name, name, reason=name)],
    )
    rules = {"patients": 3, "violations": 1, "by_rule": {name: 1}, "checked": {"kept": name},
             "first": [{"patient_id": name, "rule": name, "says": name}], "in_words": name}  # fmt: skip
    scores = {"reference": "folder", "patients": 9, "evaluated": {"profile": "quick", "patients": 3}, "seed": 0,
              "format": "polyclinic-scores", "format_version": 2, "rules": rules}  # fmt: skip
    return render([view(name)], linkage, privacy, scores, [name])


def test_names_of_data_sets_patients_and_fields_are_escaped() -> None:
    plain, evil = page("NAME"), page(EVIL)
    assert "<script" not in evil
    assert EVIL not in evil
    assert evil.count("&lt;script&gt;") + evil.count("&lt;Script&gt;") >= plain.count("NAME") > 40
    assert len(evil.split("<")) == len(plain.split("<"))  # not one tag more


def test_an_unknown_name_in_a_template_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        section("privacy")


def test_a_long_list_says_how_many_more_there_are() -> None:
    assert shown(range(SHOWN + 3))[-2:] == [str(SHOWN - 1), "3 more are in scores.json."]
    assert shown(range(2)) == ["0", "1"]


def test_every_template_ships() -> None:
    names = {name.removesuffix(".html.j2") for name in environment().list_templates()}
    assert names == {"report", "view", "linkage", "rules", "privacy", "methods", "macros", "style.css"}
