"""The attacks: silent on patients nobody has seen, loud on copies, the same for the same seed. On made-up data."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyclinic.core.modality import Record, Rows, Task, View
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import names
from polyclinic.eval.attacks import attack_result
from polyclinic.eval.attacks.attack import (
    ATTRIBUTE_INFERENCE,
    LINKABILITY,
    TITLES,
    PrivacyResult,
    attack,
)
from polyclinic.eval.attacks.attack_result import (
    AttackResult,
    Target,
    by_chance,
    strongest,
    tpr_at_false_alarms,
)
from polyclinic.eval.attacks.identifiers import identifiers
from polyclinic.eval.attacks.membership import AttackData, attack_data, embed
from polyclinic.eval.attacks.memorization import Memorization, copies
from polyclinic.eval.metrics.classifier import auc
from polyclinic.eval.report.render import section
from polyclinic.eval.sample import Comparison, Sample, collect

WIDTH = 12
ILL = Task("illness", ("healthy", "ill"), lambda profile, record: float(profile.conditions["A41.9"]))
TARGET = Target("toy", "toy", "toy", "Toy attack")
Pairs = list[tuple[PatientProfile, Record]]


def features(key: str) -> Callable[[Sequence[Record]], pd.DataFrame]:
    return lambda records: pd.DataFrame([r.arrays[key] for r in records], columns=list(range(WIDTH)))


def picture(figure: Any, real: Rows, synthetic: Rows) -> str:
    return ""


VIEWS = [View(name, f"Toy {name}", name, features(name), (ILL,), picture, "") for name in ("first", "second")]


def people(n: int, seed: int, each: int = 1, noise: float = 0.0, like: Pairs | None = None) -> Pairs:
    """n patients with `each` records of both kinds; or `like` those, but for noise."""
    rng = np.random.default_rng(seed)
    if like is not None:
        return [
            (p.but(patient_id=f"s{i}"), Record({k: v + noise * rng.normal(size=WIDTH) for k, v in r.arrays.items()}))
            for i, (p, r) in enumerate(like)
        ]  # fmt: skip
    out = []
    for i in range(n):
        ill = bool(rng.random() < 0.4)
        who = PatientProfile(
            f"set/real-{seed}-{i}",
            age=float(rng.integers(20, 90)),
            sex="FM"[i % 2],
            conditions={"A41.9": ill},
        )
        for _ in range(each):
            first = rng.normal(size=WIDTH) + ill
            out.append((who, Record({"first": first, "second": rng.normal(size=WIDTH) + 0.5 * first})))
    return out


TRAIN, TEST, FRESH = people(240, 1), people(160, 2), people(240, 3)


def comparisons(
    synthetic: Pairs, train: Pairs = TRAIN, test: Pairs = TEST, views: Sequence[View] = VIEWS
) -> list[Comparison]:
    groups = [collect(views, rows) for rows in (synthetic, train, test)]
    return [Comparison(view, *own) for view, *own in zip(views, *groups, strict=True)]


def attacks(synthetic: Pairs, **options: Any) -> PrivacyResult:
    return attack({"toy": comparisons(synthetic, **options)})


def named(found: PrivacyResult, key: str) -> list[AttackResult]:
    return [row for row in found.attacks if row.attack == key]


@pytest.fixture(scope="module")
def fresh() -> PrivacyResult:
    return attacks(FRESH)


@pytest.fixture(scope="module")
def copied() -> PrivacyResult:
    return attacks(people(0, 4, like=TRAIN))


# -- figures


def test_the_range_of_the_auc_by_chance_holds() -> None:
    rng = np.random.default_rng(0)
    low, high = by_chance(60, 80)
    draws = [auc(rng.random(60), rng.random(80)) for _ in range(400)]
    assert np.mean([low <= d <= high for d in draws]) == pytest.approx(0.95, abs=0.03)


def test_one_false_alarm_in_a_hundred_needs_a_hundred_controls() -> None:
    rng = np.random.default_rng(2)
    inside, outside = rng.random(500), rng.random(1000)
    share, interval = tpr_at_false_alarms(inside + 2, outside)
    assert share == 1
    assert interval is not None
    assert interval == pytest.approx((0.025 ** (1 / 500), 1))  # Clopper and Pearson, of 500 in 500
    share, interval = tpr_at_false_alarms(inside, outside)
    assert share == pytest.approx(0.01, abs=0.015)
    limit = np.sort(outside)[-11]
    assert (outside > limit).mean() <= 0.01
    assert tpr_at_false_alarms(inside, outside[:99]) == (None, None)


def test_the_worst_is_widened_for_having_been_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack_result, "DRAWS", 100)
    rng = np.random.default_rng(3)
    member = np.repeat([True, False], 200)
    over, plain = 0, 0
    for seed in range(30):
        found = [TARGET.measured(rng.random(400), member, "", seed * 10 + k) for k in range(8)]
        top = strongest(found)
        assert top is not None
        assert top.interval is not None
        assert top.auc == max(row.auc or 0 for row in found)
        own = next(row for row in found if row.auc == top.auc)
        assert own.interval is not None
        assert top.interval[0] < own.interval[0]
        over += top.interval[0] > 0.5
        plain += own.interval[0] > 0.5
    assert over <= 4 < plain  # of 30, where nothing is to be found
    assert strongest([]) is None


def test_few_patients_are_not_measured() -> None:
    found = TARGET.measured(np.arange(30.0), np.arange(30) < 19, "", 0)
    assert (found.auc, found.members, found.controls) == (None, 19, 11)
    assert found.reason is not None
    assert "20 members" in found.reason


# -- attacks


def test_a_cohort_that_saw_nobody_shows_nothing(fresh: PrivacyResult) -> None:
    top = fresh.strongest
    assert top is not None
    assert top.interval is not None
    assert top.interval[0] < 0.5
    assert all(row.exact == row.near == 0 for row in fresh.memorization)
    assert {row.attack for row in fresh.attacks} == {*TITLES, *names("attacks")}


def test_copies_are_found_by_every_attack_that_can(copied: PrivacyResult) -> None:
    for key in ("nearest_record", ATTRIBUTE_INFERENCE, LINKABILITY):
        for row in named(copied, key):
            assert row.auc is not None
            assert row.auc > 0.95, row.title
    for key in ("density ratio", "outliers", "singling out", "profile"):
        for row in named(copied, key):
            assert row.interval is not None
            assert row.interval[0] > 0.5, row.title
    for one in copied.memorization:
        assert (one.exact, one.near, one.control_near) == (240, 240, 0)
    assert "more than chance" in copied.in_words


def test_membership_fades_as_noise_hides_the_copies() -> None:
    found = [
        named(attacks(people(0, 5, noise=s, like=TRAIN)), "nearest_record")[0].auc or 0
        for s in (0.0, 0.5, 1.0, 3.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.65


def test_near_copies_are_counted_and_exact_ones_are_not() -> None:
    for row in attacks(people(0, 6, noise=0.1, like=TRAIN)).memorization:
        assert row.exact == 0
        assert row.near > 200
        assert row.control_near == 0


def test_some_copies_in_a_fresh_cohort_are_counted() -> None:
    for row in attacks([*FRESH, *people(0, 7, like=TRAIN[:9])]).memorization:
        assert (row.exact, row.near) == (9, 9)


def test_what_two_real_patients_share_is_no_copy() -> None:
    empty = [
        (p.but(patient_id=f"{p.patient_id}x"), Record({k: 0 * v for k, v in r.arrays.items()}))
        for p, r in TRAIN[:2]
    ]
    found = attacks([*FRESH, *people(0, 8, like=empty)], train=[*TRAIN, *empty])
    assert all(row.exact == 0 for row in found.memorization)


@pytest.mark.parametrize(("features", "near"), [(4, 0), (40, 30)])
def test_ranks_of_few_features_make_no_near_copy(features: int, near: int) -> None:
    """Synthetic rows five times as far out as the real ones have their ranks, and lie near none of them."""
    real = np.random.default_rng(0).normal(size=(60, features))
    _, found = copies(real, 5 * real[:30], np.arange(60), 0)
    assert np.diagonal(found).sum() == near


def test_a_cloud_without_spread_is_no_error() -> None:
    flat = [(p, Record({k: np.zeros(WIDTH) for k in r.arrays})) for p, r in FRESH]
    top = attacks(flat).strongest
    assert top is not None


def test_patients_with_more_records_are_not_taken_for_members() -> None:
    found = attacks(FRESH, train=people(240, 9, each=6), test=people(160, 10, each=6))
    row = named(found, "nearest_record")[0]
    assert (row.members, row.controls) == (240, 160)
    assert row.auc == pytest.approx(0.5, abs=0.1)


def test_nobody_is_his_own_reference() -> None:
    rows = attack_data(comparisons(FRESH)[0], 20)
    assert isinstance(rows, AttackData)
    found = embed(rows, 0)
    for half in (0, 1):
        reference = np.unique(found.patient[found.reference(half)])
        assert (found.fold[reference] != half).all()
        assert found.member[reference].sum() == (~found.member[reference]).sum() == 80


def test_groups_that_differ_are_not_taken_for_members() -> None:
    drifted = [(p, Record({k: v + 1.5 for k, v in r.arrays.items()})) for p, r in people(240, 12)]
    between = [(p, Record({k: v + 0.75 for k, v in r.arrays.items()})) for p, r in people(240, 13)]
    for row in named(attacks(between, train=drifted), "nearest_record"):
        assert row.auc == pytest.approx(0.5, abs=0.12)


def test_the_same_seed_gives_the_same_figures(fresh: PrivacyResult) -> None:
    assert attacks(FRESH).to_dict() == fresh.to_dict()


# -- what was not measured


def test_without_reference_nothing_is_measured_and_it_says_so() -> None:
    (synthetic,) = collect(VIEWS[:1], FRESH)
    found = attack({"toy": [Comparison(VIEWS[0], synthetic)], "records": []})
    assert found.strongest is None
    assert all(row.auc is None and row.reason for row in found.attacks)
    said = found.to_dict()
    assert said["strongest_attack"] is None
    assert said["identifiers"] is None
    assert {row["modality"] for row in said["attacks"]} == {"toy", "records", ""}
    assert "No attack was measured" in said["in_words"]


def test_too_few_patients_are_named() -> None:
    found = attack_data(comparisons(FRESH, test=TEST[:5])[0], 20)
    assert isinstance(found, str)
    assert "240, 5 and 240" in found


def test_no_patient_with_two_records_is_said() -> None:
    found = named(attacks(FRESH, views=VIEWS[:1]), LINKABILITY)
    assert [row.auc for row in found] == [None]


# -- the report's section


def test_the_section_leads_with_the_worst_and_escapes(copied: PrivacyResult) -> None:
    html = section("privacy", privacy=copied)
    top = copied.strongest
    assert top is not None
    assert html.index(top.title) < html.index("Every attack")
    assert "real-1-" not in html
    hostile = AttackResult("m", "a", "<b>title</b>", reason="<i>", in_words="")
    assert "<b>" not in section("privacy", privacy=PrivacyResult([hostile], [], None))


def test_scores_hold_no_patient(copied: PrivacyResult) -> None:
    assert "real-1-" not in str(copied.to_dict())


def test_expected_copies_follow_the_controls() -> None:
    assert Memorization("m", "v", "t", 0, 9, 100, 3, 200, 100).expected == 6


# -- identifiers


@dataclass
class OnDisk:
    """A cohort's folder and table."""

    folder: Path
    ids: list[str] = field(default_factory=lambda: [f"p{i}" for i in range(150)])

    def profiles(self) -> Iterator[PatientProfile]:
        return (PatientProfile(i) for i in self.ids)


class Searching:
    """A modality that looks at its own files."""

    name = "searching"

    def identifiers(self, folder: Path, patient_ids: Sequence[str]) -> list[tuple[str, str]]:
        return [(f"{i}.dcm", "a name") for i in patient_ids if i == "p0"]


def test_traces_are_found_in_files_and_by_the_modality(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "clean.json").write_text('{"id": "p17", "note": "real-1-2345"}')
    (tmp_path / "sub" / "bad.ndjson").write_text('{"note": "transferred from real-1-17, well"}')
    (tmp_path / "real-2-3.hea").write_bytes(b"\x00\xff")
    modality: Any = Searching()
    found = identifiers(OnDisk(tmp_path), [modality], {"toy": comparisons(FRESH)})
    assert [(one.where, "real patient" in one.what) for one in found] == [
        ("p0.dcm", False),
        ("real-2-3.hea", True),
        ("sub/bad.ndjson", True),
    ]
    assert "real-1-17" not in " ".join(one.what for one in found)


def test_short_numbers_are_not_taken_for_ids(tmp_path: Path) -> None:
    (tmp_path / "codes.json").write_text('{"code": "22298006"}')
    numbered = [
        (PatientProfile(f"set/{22298000 + i}", conditions={"A41.9": False}), r)
        for i, (_, r) in enumerate(TRAIN)
    ]
    assert identifiers(OnDisk(tmp_path), [], {"toy": comparisons(FRESH, train=numbered)}) == []


def test_draws_do_not_enter_scores() -> None:
    member = np.arange(100) < 50
    row = TARGET.measured(np.arange(100.0), member, "", 0)
    assert len(row.draws) == attack_result.DRAWS
    assert "draws" not in row.to_dict()


def test_a_view_keeps_its_sample() -> None:
    rows = attack_data(comparisons(FRESH)[0], 20)
    assert isinstance(rows, AttackData)
    assert isinstance(rows.synthetic, Sample)
