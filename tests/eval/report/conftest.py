"""A report page of records that are made up, as small or as long as a test wants it."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from polyclinic.core.modality import View
from polyclinic.eval.attacks.attack import PrivacyResult
from polyclinic.eval.attacks.attack_result import AttackResult
from polyclinic.eval.attacks.audit_record import Audited
from polyclinic.eval.attacks.identifiers import Identifier
from polyclinic.eval.attacks.memorization import Memorization
from polyclinic.eval.linkage.consistency import Consistency, Contradiction
from polyclinic.eval.linkage.linkage import Linkage
from polyclinic.eval.report.render import render
from polyclinic.eval.results import ViewResult
from polyclinic.eval.score import DETAILED, MEASURED, QUESTIONS, Score, not_measured

PageOf = Callable[..., str]


@pytest.fixture
def page_of() -> PageOf:
    """page_of(name, views=1, rows=1): the page as text."""
    return page


def picture() -> bytes:
    """As large as the pictures of a report with real records beside synthetic ones."""
    held = BytesIO()
    Image.new("RGB", (1265, 1100), "white").save(held, "png")
    return held.getvalue()


def view(name: str, number: int, rows: int) -> ViewResult:
    """A view in which each name is the same text."""
    shape = View(f"view{number}", name, "x", lambda records: pd.DataFrame(), (), lambda *_: "", name, (name,))
    details: dict[str, Any] = {"groups": [{"group": name, "rows": 30, "error": 0.2, "real": 0.1}]}
    numbers: dict[str, Any] = {"value": 0.4, "interval": (0.3, 0.5), "real_baseline": 0.3,
                               "real_baseline_interval": (0.2, 0.4), "verdict": "close", "direction": name}  # fmt: skip
    kinds = (*QUESTIONS, *DETAILED) if rows > 1 else ()
    verdicts = ("as real", "close", "different", "undecided")
    scores = [
        *(
            Score("ks", name, kind, MEASURED, sentence=name, **numbers | {"verdict": verdicts[i % 4]})
            for i, kind in enumerate(kinds * rows)
        ),
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
    return ViewResult(name, shape, scores, {name: 0.5}, who, None, picture(), name, True)


def page(name: str, views: int = 1, rows: int = 1) -> str:
    """A report in which each name that data give is the same text; rows: in each list."""
    subjects = [
        Consistency(name, None, (name,), 40, 39, 0.1, 0.1),
        Consistency(name, name, (name,), 40, 20, 0.1, 0.1, 2.0),
    ]
    linkage = Linkage(
        subjects * rows,
        [Contradiction(name, name, ((name, name),))] * rows, [], [],
    )  # fmt: skip
    privacy = PrivacyResult(
        [AttackResult(name, name, name, reason=name)] * rows,
        [Memorization(name, name, name, 0, 0, 10, 0, 20, 20)] * rows,
        [Identifier(name, name)],
        [Audited(name, name, reason=name)],
    )
    rules = {"patients": 3, "violations": 1, "by_rule": {name: 1}, "checked": {"kept": name},
             "first": [{"patient_id": name, "rule": name, "says": name}] * rows, "in_words": name}  # fmt: skip
    scores = {"reference": "folder", "patients": 9, "evaluated": {"profile": "quick", "patients": 3}, "seed": 0,
              "format": "polyclinic-scores", "format_version": 2, "rules": rules}  # fmt: skip
    return render([view(name, i, rows) for i in range(views)], linkage, privacy, scores, [name])
