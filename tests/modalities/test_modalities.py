"""All installed modalities on the weights in force: shapes and units, determinism, round trip, who is indicated."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from polyclinic import (
    Batch,
    PatientProfile,
    Population,
    ProfileEncoder,
    Record,
    generate,
    load_modality,
    seed_for,
)
from polyclinic.core.modality import Modality, in_order
from polyclinic.core.registry import names
from polyclinic.testing import HARD, check_modality

NAMES = ("imaging", "signals", "omics", "records")
PROFILES = tuple(Population.load("cardio_oncology").draw(7, seed=3))
BARE = HARD[0]
WEARABLE = Path(__file__).parents[1] / "plugins" / "wearable"


@pytest.fixture(scope="module")
def modalities() -> list[Modality]:
    return in_order([load_modality(name) for name in NAMES])


@pytest.fixture(scope="module")
def drawn(modalities: list[Modality]) -> dict[str, dict[str, Record]]:
    return draw(PROFILES, modalities, 16)


def draw(
    profiles: Sequence[PatientProfile], modalities: list[Modality], batch_size: int
) -> dict[str, dict[str, Record]]:
    patients = generate(profiles, modalities, ProfileEncoder(), seed=3, batch_size=batch_size)
    return {p.profile.patient_id: dict(p.records) for p in patients}


@pytest.mark.parametrize("name", [*names("modalities"), "ppg"])
def test_a_modality_keeps_its_contract(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(WEARABLE)
    people = sorted(PROFILES, key=lambda p: not p.has("C50.919"))[:4]  # some with a tumour
    check_modality(load_modality(name), tmp_path, people)


def test_two_patients_are_not_alike(drawn: dict[str, dict[str, Record]]) -> None:
    first, second = (drawn[p.patient_id] for p in PROFILES[:2])
    assert not np.array_equal(first["imaging"].arrays["image"], second["imaging"].arrays["image"])
    assert not np.array_equal(first["signals"].arrays["ecg"], second["signals"].arrays["ecg"])


def test_shapes_and_units(drawn: dict[str, dict[str, Record]]) -> None:
    for records in drawn.values():
        image = records["imaging"].arrays["image"]
        assert image.dtype == np.uint16
        assert image.ndim == 2
        assert image.max() <= 4095
        assert image.std() > 100  # not blank
        ecg, vitals = (records["signals"].arrays[n] for n in ("ecg", "vitals"))
        assert ecg.shape == (12, 5000)
        assert 0.2 < np.abs(ecg).max() < 10  # mV
        microvolts = ecg.astype(np.float64) * 1000
        assert np.abs(microvolts - np.rint(microvolts)).max() < 1e-2
        i, ii, iii, avr, avl, avf = np.rint(microvolts[:6]).astype(int)
        assert (i + iii == ii).all()
        assert (avr + avl + avf == 0).all()
        assert (2 * avr == -(i + ii)).all()
        assert vitals.shape == (24, 7)
        assert np.nanmin(vitals) >= 4
        assert np.nanmax(vitals) <= 220
        if "omics" in records:
            assert records["omics"].arrays["rna"].shape == records["omics"].arrays["rna_var"].shape
            assert np.isfinite(records["omics"].arrays["rna"]).all()


def test_who_is_indicated(modalities: list[Modality]) -> None:
    by_name = {m.name: m for m in modalities}
    assert not by_name["omics"].indicated(BARE)
    assert by_name["omics"].indicated(HARD[3])
    assert all(by_name[n].indicated(BARE) for n in ("imaging", "signals", "records"))


@pytest.mark.parametrize("profile", HARD, ids=lambda p: p.patient_id)
def test_hard_profiles_are_drawn(profile: PatientProfile, modalities: list[Modality]) -> None:
    records = draw((profile,), modalities, 16)[profile.patient_id]
    rate = records["signals"].facts["heart_rate"]
    if asked := profile.measurements.get("heart_rate"):
        assert rate == pytest.approx(asked, rel=0.12)
    assert np.isfinite(records["signals"].arrays["ecg"]).all()
    assert ("omics" in records) == profile.has("C50.919")


def test_the_profile_steers(modalities: list[Modality]) -> None:
    """The same seeds, one field changed: rhythm, heart rate and subtype follow."""
    by_name = {m.name: m for m in modalities}
    encoder = ProfileEncoder()

    def sample(name: str, profiles: Sequence[PatientProfile]) -> list[Record]:
        seeds = tuple(seed_for(5, p.patient_id, name) for p in profiles)
        return (
            by_name[name]
            .generator(encoder.columns)
            .sample(Batch(tuple(profiles), encoder.encode(profiles), seeds))
        )

    people = [PatientProfile(str(i), age=65.0, sex="F", measurements={"heart_rate": 80.0}) for i in range(8)]
    sinus = sample("signals", [p.but(conditions={"I48.91": False}) for p in people])
    fibrillation = sample("signals", [p.but(conditions={"I48.91": True}) for p in people])

    def spread(records: list[Record]) -> float:
        gaps = [np.diff(r.arrays["r_peaks"]) for r in records]
        return float(np.median([g.std() / g.mean() for g in gaps]))

    assert spread(fibrillation) > 2 * spread(sinus)
    for record in sinus:
        assert record.facts["heart_rate"] == pytest.approx(80, abs=3)
    tumour = {"C50.919": True}
    luminal, basal = (
        sample("omics", [p.but(conditions=tumour, traits={"pam50": s}) for p in people])
        for s in ("LumA", "Basal")
    )
    assert np.mean([r.facts["ESR1"] for r in luminal]) > np.mean([r.facts["ESR1"] for r in basal]) + 3
