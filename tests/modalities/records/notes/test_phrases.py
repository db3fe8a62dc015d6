"""Phrases of notes: every code has a name, a name means one thing, a phrase fills and marks."""

import pytest

from polyclinic.core.errors import InputError
from polyclinic.modalities.records.codes import codes
from polyclinic.modalities.records.notes.phrases import Phrase, names
from polyclinic.modalities.records.notes.text import Mention, capital, enumerated, written

RUN, EACH = 23, 70


def test_every_code_has_a_name_and_every_unit_is_written() -> None:
    own, known = codes(), names()
    for kind in ("conditions", "drugs", "procedures"):
        assert set(getattr(known, kind)) == set(getattr(own, kind))
    assert set(own.observations) - set(known.observations) == {"cause_of_death"}
    units = {entry.unit for entry in (*own.observations.values(), *own.drugs.values()) if entry.unit}
    assert units <= set(known.units)
    assert {sign.of for sign in known.signs.values()} <= set(own.observations)


def test_what_has_no_name_is_called_by_its_display() -> None:
    assert names().named("observations")["cause_of_death"].long == [
        "cause of death [US Standard Certificate of Death]"
    ]


def test_a_name_means_one_thing_of_its_kind() -> None:
    for kind in ("conditions", "observations", "drugs", "procedures", "answers"):
        meant: dict[str, set[str]] = {}
        for key, name in getattr(names(), kind).items():
            for word in (*name.long, *name.short):
                meant.setdefault(word.lower(), set()).add(key)
        ambiguous = {word: keys for word, keys in meant.items() if len(keys) > 1}
        allowed = [{"breast_cancer_woman", "breast_cancer_man"}, {"heart_rate", "ecg_heart_rate"}]
        assert all(keys in allowed for keys in ambiguous.values()), ambiguous


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A [thing|BANANA].", "expected one of .* got BANANA"),
        ("The [elbow|ANATOMY].", "body part .* got 'elbow'"),
    ],
)
def test_a_wrong_phrase_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Phrase(text)


def test_a_phrase_fills_and_marks() -> None:
    own = Mention("", "FINDING", "J90", "icd", "Condition/1")
    phrase = Phrase("The {part} shows [fluid|FINDING]; else [clear|NORMAL].")
    text, spans = written(phrase.fill({"part": Mention("chest", "ANATOMY")}, own))
    assert text == "The chest shows fluid; else clear."
    assert [(s["label"], s["text"], s["negated"]) for s in spans] == [
        ("ANATOMY", "chest", False), ("FINDING", "fluid", False), ("NORMAL", "clear", True),
    ]  # fmt: skip
    assert spans[1]["code"] == "J90"
    assert phrase.slots == {"part"}


def test_capitals_and_lists() -> None:
    assert capital(["", Mention("eGFR", "LAB"), " 50"])[1] == Mention("eGFR", "LAB")
    assert capital([Mention("creatinine", "LAB")]) == [Mention("Creatinine", "LAB")]
    assert enumerated([["a"], ["b"], ["c"]]) == ["a", ", ", "b", " and ", "c"]


def test_offsets_count_code_points() -> None:
    text, spans = written(["µ ", Mention("10⁹/µL", "UNIT"), " 😷 ", Mention("78", "VALUE")])
    assert [text[s["start"] : s["end"]] for s in spans] == ["10⁹/µL", "78"]
