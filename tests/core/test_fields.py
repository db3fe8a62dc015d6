"""The registry of fields: what may be declared, how values are read, and that today's encoding stays as it is."""

import json
from hashlib import sha256
from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.conditioning.encoder import ProfileEncoder
from polyclinic.core import registry
from polyclinic.core.condition import columns_of, field_of
from polyclinic.core.errors import InputError
from polyclinic.core.fields import FIELDS, SHIPPED, Declaration, Field, class_of
from polyclinic.core.profile import PatientProfile
from polyclinic.core.remarks import DataWarning

DECLARED = {
    "melanoma": {"kind": "flag", "label": "Melanoma", "codes": {"icd10cm": "C43.9", "snomed": 372244006}},
    "cdr": {"kind": "category", "classes": [0, 0.5, 1, 2]},
    "mmse": {"kind": "number", "range": [0, 30], "unit": "{score}"},
    "lactate": {"kind": "number", "unit": "mmol/L", "range": [0, 30], "codes": {"loinc": "2524-7"}},
    "J45.909": {"kind": "flag", "label": "Asthma"},
}
VOCABULARY = SHIPPED.declare(DECLARED, "here")


def test_the_encoding_of_the_shipped_fields_is_fixed() -> None:
    """Shipped weights find their columns by name; what a column holds is part of what they learnt."""
    columns = ProfileEncoder().columns
    assert len(columns) == 186
    assert sha256(json.dumps(columns).encode()).hexdigest()[:16] == "95d377fbf57a5215"
    profile = PatientProfile("p", 61.5, "F", 170, 70, {"I10": True}, {"lactate": 1.8}, {"pam50": "LumB"})
    assert sha256(ProfileEncoder().encode([profile]).tobytes()).hexdigest()[:16] == "89f9ad1301ed5e6f"


def test_declared_fields_get_columns_of_their_own_and_move_no_other() -> None:
    encoder, before = ProfileEncoder.of(VOCABULARY), ProfileEncoder()
    assert set(encoder.columns) - set(before.columns) >= {
        "melanoma", "melanoma?", "cdr=0.5", "cdr?", "mmse[0,30]", "mmse[0,30]~sin1", "J45.909",
    }  # fmt: skip
    assert {"lactate[0,30]", "lactate?"} <= set(encoder.columns)  # of another range than the shipped field's
    assert {field_of(c) for c in columns_of(encoder.columns, ["lactate"])} == {"lactate"}
    profile = PatientProfile(
        "p", 40.0, "M", conditions={"melanoma": True}, measurements={"mmse": 30.0}, traits={"cdr": "0.5"}
    )
    code = dict(zip(encoder.columns, encoder.encode([profile])[0].tolist(), strict=True))
    assert (code["melanoma"], code["melanoma?"], code["cdr=0.5"], code["cdr=1"], code["cdr?"]) == (
        1,
        1,
        1,
        0,
        1,
    )
    assert (code["mmse[0,30]"], code["mmse?"], code["J45.909?"]) == (1, 1, 0)
    plain = dict(zip(before.columns, before.encode([profile])[0].tolist(), strict=True))
    assert {name: code[name] for name in plain} == plain


def test_two_ranges_of_one_number_are_two_columns_and_one_mask() -> None:
    wide = SHIPPED.declare({"mmse": {"kind": "number", "range": [0, 60], "unit": "{score}"}}, "there")
    encoder = ProfileEncoder([*VOCABULARY.fields, *wide.fields])
    code = dict(
        zip(
            encoder.columns,
            encoder.encode([PatientProfile("p", measurements={"mmse": 30.0})])[0],
            strict=True,
        )
    )
    assert (code["mmse[0,30]"], code["mmse[0,60]"], code["mmse?"]) == (1, 0, 1)
    assert len(set(encoder.columns)) == len(encoder.columns)


@pytest.mark.parametrize("name", DECLARED)
def test_a_declaration_survives_a_card(name: str) -> None:
    known = VOCABULARY.field(name)
    again = Declaration.model_validate_json(Declaration(**known.declaration()).model_dump_json())
    assert Field.of(name, again) == known


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"x y": {"kind": "flag"}}, "not a name for a field"),
        ({"has_x": {"kind": "flag"}}, "not a name for a field"),
        ({"patient_id": {"kind": "flag"}}, "not a name for a field"),
        ({"x": {"kind": "flags"}}, "here: declare.x: kind: expected 'flag', 'category' or 'number'"),
        ({"x": {"kind": "flag", "lable": "X"}}, "unknown key 'lable'; the nearest known one is 'label'"),
        ({"x": {"kind": "flag", "unit": "mm"}}, "unit belongs to a number, this is a flag"),
        ({"x": {"kind": "number", "classes": ["a", "b"]}}, "classes belongs to a category"),
        ({"x": {"kind": "category", "classes": ["a", "a"]}}, "listed twice"),
        ({"x": {"kind": "category", "classes": ["a"]}}, "at least 2"),
        ({"x": {"kind": "number", "range": [3, 1]}}, r"range must be \[low, high\]"),
        ({"x": {"kind": "flag", "codes": {"icd10cm": "melanoma"}}}, "does not have the form"),
        ({"x": {"kind": "flag", "codes": {"icd10": "C43.9"}}}, "codes.icd10"),
        ({"x": {"kind": "flag", "codes": {"icd10cm": "J18.9"}}}, "J18.9 is the field J18.9.*use that name"),
        ({"lactate": {"kind": "number", "unit": "mg/dL", "range": [0, 99]}}, "is a number in mmol/L already"),
        ({"age": {"kind": "flag"}}, "is a number in a already"),
    ],
)
def test_what_cannot_be_declared_is_refused_in_one_line(declared: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        SHIPPED.declare(declared, "here")
    assert str(refusal.value).startswith("here")
    assert "\n" not in str(refusal.value)


def test_an_unknown_code_is_answered_with_how_to_declare_it() -> None:
    with pytest.raises(
        InputError, match=r"unknown field or code 'C43.9'; declare it there: `declare: \{C43.9: "
    ):
        SHIPPED.field("C43.9", "d")
    with pytest.raises(InputError, match="did you mean 'heart_rate'"):
        SHIPPED.field("heartrate", "d")
    assert VOCABULARY.field("melanoma").codes == {"icd10cm": "C43.9", "snomed": "372244006"}
    assert VOCABULARY.field("J45.909").codes == {"icd10cm": "J45.909"}


@given(st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6).filter(lambda x: x == round(x, 3))))
def test_a_class_has_one_name_however_a_table_spells_it(number: float) -> None:
    assert class_of(number) == class_of(float(number)) == class_of(class_of(number))
    assert float(class_of(number)) == number


def test_ids_are_no_numbers() -> None:
    assert [class_of(x) for x in ("101E2", "007", " a ", "0.50", 1.0, True)] == [
        "101E2",
        "007",
        "a",
        "0.5",
        "1",
        "yes",
    ]


@pytest.mark.parametrize(
    ("cell", "value"), [("Yes", True), (1, True), (0.0, False), ("false", False), (True, True)]
)
def test_flags_are_read_as_people_write_them(cell: object, value: bool) -> None:
    assert VOCABULARY.field("melanoma").parse(cell, "t") is value


def test_what_is_not_stated_is_learnt_from_values() -> None:
    known = SHIPPED.declare({"c": {"kind": "category"}, "n": {"kind": "number", "unit": "mm"}}, "here")
    assert known.field("c").settle([2.0, 0, "0.5", 2], "t").classes == ("0", "0.5", "2")
    learnt = known.field("n").settle([1.24, 36.8, 7], "t")
    assert (learnt.low, learnt.high, learnt.decimals) == (1, 37, 1)
    with pytest.raises(InputError, match="1 classes"):
        known.field("c").settle([1, 1.0], "t")
    with pytest.raises(InputError, match="no range to learn"):
        known.field("n").settle([5, 5], "t")
    assert "c=0" not in ProfileEncoder(known.fields).columns  # of which nothing is known yet


def test_packages_declare_fields_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("ppg", f"{__name__}:PLUGIN", "polyclinic.fields")
    broken = EntryPoint("ppg", f"{__name__}:NOWHERE", "polyclinic.fields")
    for found, message in ((point, ""), (broken, "cannot be loaded")):
        monkeypatch.setattr(registry, "entry_points", lambda group, found=found: [found])
        registry.vocabulary.cache_clear()
        if message:
            with pytest.warns(DataWarning, match=message):
                assert "perfusion_index" not in registry.vocabulary()
        else:
            assert registry.vocabulary().field("perfusion_index").high == 20
    monkeypatch.undo()
    registry.vocabulary.cache_clear()
    assert "perfusion_index" not in registry.vocabulary()


PLUGIN = {"perfusion_index": {"kind": "number", "range": [0, 20], "unit": "%"}}


def test_profiles_are_checked_against_what_is_declared() -> None:
    made = VOCABULARY.with_values(
        PatientProfile("p"), {"cdr": 0.5, "mmse": "21", "melanoma": False, "age": 3}
    )
    assert (made.get("cdr"), made.get("mmse"), made.get("melanoma"), made.age) == ("0.5", 21, False, 3)
    assert VOCABULARY.checked(made) is made
    assert PatientProfile.from_dict(made.to_dict()) == made
    for wrong, message in (
        ({"cdr": 3}, "one of 0, 0.5, 1, 2"),
        ({"mmse": 31}, "0 to 30"),
        ({"melanoma": "yes"}, "true"),
    ):
        with pytest.raises(InputError, match=message):
            VOCABULARY.with_values(PatientProfile("p"), wrong)
    assert [f.name for f in VOCABULARY.declared] == ["lactate", "melanoma", "cdr", "mmse", "J45.909"]
    assert len(FIELDS) == len(SHIPPED.fields)
    assert not SHIPPED.declared


def test_a_shipped_field_that_is_declared_is_the_same_field() -> None:
    known = SHIPPED.declare(
        {"E11.9": {"kind": "flag"}, "sex": {"kind": "category"}, "age": {"kind": "number", "unit": "a"}}, "d"
    )
    assert [f.name for f in known.declared] == ["age", "sex", "E11.9"]
    assert known.field("E11.9").label == SHIPPED.field("E11.9").label
    assert ProfileEncoder.of(known).columns == ProfileEncoder().columns
