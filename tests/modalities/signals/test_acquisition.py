"""How signals are asked for: the course of a stay, hours at the bedside, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from polyclinic import Batch, PatientProfile, ProfileEncoder, load_modality
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.modalities.signals.acquisition import SignalsOptions, with_bedside


def drawn(options: dict[str, object], septic: bool, patients: int = 2) -> list[Record]:
    """Records of the shipped weights."""
    encoder = ProfileEncoder()
    profiles = tuple(
        PatientProfile(
            f"P{i}", age=60.0, sex="M", conditions={"A41.9": septic}, measurements={"heart_rate": 88.0}
        )
        for i in range(patients)
    )
    batch = Batch(profiles, encoder.encode(profiles), tuple(range(7, 7 + patients)))
    return load_modality("signals", options).generator(encoder.columns).sample(batch)


def test_a_course_with_its_onset_reaches_the_record() -> None:
    for record in drawn({"trajectory": "sepsis", "onset": 9}, septic=True):
        own = {name: record.facts[name] for name in ("trajectory", "sepsis_onset", "trajectory_basis")}
        assert own == {"trajectory": "sepsis", "sepsis_onset": 9.0, "trajectory_basis": "learnt"}
    (record,) = drawn({"trajectory": "recovery"}, septic=False, patients=1)
    assert record.facts["trajectory_basis"] == "rule-based"
    assert "trajectory" not in drawn({}, septic=False, patients=1)[0].facts


@pytest.mark.parametrize(
    ("trajectory", "septic", "message"),
    [
        ("sepsis", False, "trajectory sepsis: P0 has no sepsis; give the patient or the cohort A41.9"),
        ("stable", True, r"trajectory stable: P0 has sepsis \(A41.9\); use trajectory sepsis"),
    ],
)
def test_a_trajectory_that_a_patient_cannot_take_is_refused(
    trajectory: str, septic: bool, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        drawn({"trajectory": trajectory}, septic=septic)


def test_hours_at_the_bedside_average_to_the_chart_and_are_read_back(tmp_path: Path) -> None:
    modality = load_modality("signals", {"bedside": 2})
    records = drawn({"bedside": 2}, septic=False)
    plain = drawn({}, septic=False)
    profiles = [PatientProfile(f"P{i}") for i in range(2)]
    paths = modality.export(records, profiles, tmp_path)
    assert {path.name for path in paths} >= {"bedside.hea", "bedside.dat"}
    back = modality.read(tmp_path, ["P0", "P1"])
    for record, without, own in zip(records, plain, back.values(), strict=True):
        seconds, chart = record.arrays["bedside"], record.arrays["vitals"]
        np.testing.assert_array_equal(chart, without.arrays["vitals"])
        assert seconds.shape == (7200, 7)
        means = seconds.reshape(2, 3600, 7).mean(1)
        known = np.isfinite(chart[:2])
        np.testing.assert_allclose(means[known], chart[:2][known], atol=0.01)
        never = ~np.isfinite(chart).any(0)
        assert np.isnan(seconds[:, never]).all()
        assert np.isfinite(seconds[:, ~never]).all()
        np.testing.assert_allclose(own.arrays["bedside"], seconds, rtol=0, atol=0.00501)


def test_an_ecg_of_any_length_has_the_profiles_rate(tmp_path: Path) -> None:
    records = drawn({"seconds": 47}, septic=False)
    modality = load_modality("signals", {"seconds": 47, "formats": ["wfdb"]})
    modality.export(records, [PatientProfile(f"P{i}") for i in range(2)], tmp_path)
    back = modality.read(tmp_path, ["P0", "P1"])
    for record, own in zip(records, back.values(), strict=True):
        assert record.arrays["ecg"].shape == (12, 47 * 500)
        assert record.facts["heart_rate"] == pytest.approx(88, abs=3)
        np.testing.assert_array_equal(own.arrays["ecg"], record.arrays["ecg"])
        np.testing.assert_array_equal(own.arrays["r_peaks"], record.arrays["r_peaks"])
    with pytest.raises(InputError, match=r"seconds: .*3600, got 4000"):
        load_modality("signals", {"seconds": 4000})


def test_a_stay_that_ended_has_no_seconds_after_it() -> None:
    vitals = np.full((24, 7), np.nan, np.float32)
    vitals[:3] = [80, 97, 37, 120, 85, 70, 16]
    assert with_bedside(Record({"vitals": vitals}, {"hours": 3}), 1, 12).arrays["bedside"].shape == (
        3 * 3600,
        7,
    )
    assert "bedside" not in with_bedside(Record({"vitals": vitals}, {"hours": 0}), 1, 12).arrays
    assert "bedside" not in with_bedside(Record({"ecg": np.zeros((12, 10))}), 1, 12).arrays


def test_room_for_the_bedside_is_asked_for_early() -> None:
    usual, more = (load_modality("signals", options) for options in ({}, {"bedside": 24}))
    assert more.bytes_per_record - usual.bytes_per_record > 24 * 7200 * 7  # type: ignore[attr-defined]
    assert SignalsOptions().stay.kind == "profile"
