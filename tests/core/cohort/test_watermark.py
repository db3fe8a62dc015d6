"""The watermark: found with its key after every lossless round trip, by nobody else, and felt by no score."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyclinic.app.engines import generation as engine
from polyclinic.app.governance import verification
from polyclinic.conditioning.population import Population
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.cohort.watermark import COHORT, PATIENT, SHARE, Mark, Tally
from polyclinic.core.errors import InputError
from polyclinic.core.registry import load_modality

OURS, OTHER = Mark(b"a" * 32), Mark(b"b" * 32)
KINDS = ("imaging", "signals", "omics")


@pytest.fixture(scope="module")
def drawn():
    """Twelve patients of the shipped weights, without a mark."""
    from polyclinic.conditioning.encoder import ProfileEncoder
    from polyclinic.core.pipeline import generate

    profiles = Population.load("cardio_oncology").draw(12, seed=4)
    return list(generate(profiles, [load_modality(name) for name in KINDS], ProfileEncoder(), seed=4))


def of(drawn, name):
    return [(p.profile, p.records[name]) for p in drawn if name in p.records]


# -- the mark itself


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 4000),
    st.sampled_from([np.uint8, np.uint16, np.int16, np.int64]),
    st.binary(min_size=32, max_size=32),
    st.text(max_size=8),
)
def test_a_mark_moves_a_level_by_one_at_most_and_is_read_back(size, dtype, key, patient):
    rng = np.random.default_rng(size)
    info = np.iinfo(dtype)
    levels = rng.integers(max(info.min, -5000), min(info.max, 5000), size, dtype=dtype, endpoint=True)
    mark = Mark(key)
    marked = mark.put(levels, patient, "x")
    assert marked.dtype == levels.dtype
    assert np.abs(marked.astype(np.int64) - levels.astype(np.int64)).max() <= 1
    found = mark.read(marked, patient, "x")
    assert found.agree == found.of
    assert np.array_equal(mark.put(marked, patient, "x"), marked)


def test_levels_stay_in_their_range():
    for dtype, top in ((np.uint8, 255), (np.uint16, 4095)):
        for value in (0, top):
            marked = OURS.put(np.full((64, 64), value, dtype), "p", "image")
            assert marked.min() >= 0
            assert marked.max() <= top


def test_a_sixteenth_of_the_samples_moves():
    levels = np.random.default_rng(0).integers(0, 4096, 200_000)
    moved = (OURS.put(levels, "p", "x") != levels).mean()
    assert moved == pytest.approx(SHARE / 2, abs=0.003)


@pytest.mark.parametrize("content", ["zeros", "noise", "marked by another"])
def test_false_positives_are_no_more_than_stated(content):
    levels = np.zeros(4096, np.uint16)
    if content != "zeros":
        levels = np.random.default_rng(1).integers(0, 4096, 4096).astype(np.uint16)
    if content == "marked by another":
        levels = OTHER.put(levels, "p", "x")
    bounds = [
        Mark(bytes([n % 256, n // 256] * 16)).read(levels, "p", "x").log10_false_positive for n in range(2000)
    ]
    for rate in (0.1, 0.01):
        assert np.mean(np.array(bounds) <= math.log10(rate)) <= rate
    assert min(bounds) > PATIENT


def test_the_stated_chance_is_above_the_binomial_tail():
    from scipy.stats import binom

    for n in (1, 10, 100, 3000):
        for agree in range(n // 2, n + 1, max(1, n // 50)):
            exact = binom.logsf(agree - 1, n, 0.5) / math.log(10)
            assert Tally(agree, n).log10_false_positive >= exact - 1e-9
    assert Tally(50, 50).log10_false_positive == pytest.approx(-50 * math.log10(2))
    assert Tally().log10_false_positive == 0


def test_marks_of_patients_and_arrays_are_their_own():
    levels = OURS.put(np.zeros(20_000, np.uint16), "p1", "x")
    for patient, array in (("p2", "x"), ("p1", "y"), ("p1:x", ""), ("", "p1:x")):
        assert OURS.read(levels, patient, array).log10_false_positive > PATIENT


# -- through files

FORMS = [
    *(("imaging", {"compression": c}) for c in ("none", "rle", "jpeg-ls", "j2k")),
    ("signals", {}),
    *(("omics", {"format": f}) for f in ("zarr", "h5ad", "mudata")),
]


@pytest.mark.parametrize(("name", "options"), FORMS, ids=str)
def test_every_lossless_round_trip_keeps_the_mark(name, options, drawn, tmp_path):
    modality = load_modality(name, options)
    rows = of(drawn, name)
    profiles = [profile for profile, _ in rows]
    marked = [modality.mark(record, OURS, profile.patient_id) for profile, record in rows]
    piece = tmp_path / "piece"
    piece.mkdir()
    modality.export(marked, profiles, piece)
    if modality.shared:
        modality.assemble([piece], tmp_path)
    back = modality.read(tmp_path if modality.shared else piece, [p.patient_id for p in profiles])
    for profile, plain in rows:
        own = modality.marks(back[profile.patient_id], OURS, profile.patient_id)
        assert own.agree == pytest.approx(own.of, rel=5e-3)
        assert own.log10_false_positive < PATIENT
        assert (
            modality.marks(back[profile.patient_id], OTHER, profile.patient_id).log10_false_positive > PATIENT
        )
        assert modality.marks(plain, OURS, profile.patient_id).log10_false_positive > PATIENT


def test_einthovens_law_holds_in_the_stored_integers(drawn, tmp_path):
    import wfdb

    modality = load_modality("signals")
    for profile, record in of(drawn, "signals"):
        marked = modality.mark(record, OURS, profile.patient_id)
        modality.export([marked], [profile], tmp_path)
        path = tmp_path / "wfdb" / profile.patient_id / "ecg"
        i, ii, iii, avr, avl, avf = wfdb.rdrecord(str(path), physical=False).d_signal[:, :6].T.astype(int)
        assert np.array_equal(iii, ii - i)
        for whole, twice in ((avr, -(i + ii)), (avl, 2 * i - ii), (avf, 2 * ii - i)):
            assert np.array_equal(2 * whole, twice)
        assert np.abs(marked.arrays["ecg"] - record.arrays["ecg"]).max() < 0.0045  # mV
        for kept in ("r_peaks", "vitals"):
            assert marked.arrays[kept] is record.arrays[kept]


def test_what_was_not_detected_stays_so_and_facts_follow_the_values(drawn):
    modality = load_modality("omics")
    for profile, record in of(drawn, "omics"):
        marked = modality.mark(record, OURS, profile.patient_id)
        before, after = record.arrays["rna"], marked.arrays["rna"]
        assert np.array_equal(before == 0, after == 0)
        assert np.abs(before - after).max() <= 1 / 1024 + 1e-6
        for gene in ("ESR1", "ERBB2"):
            (place,) = np.flatnonzero(marked.arrays["rna_var"] == gene)
            assert marked.facts[gene] == pytest.approx(float(after[place]), abs=5e-4)


def test_a_series_and_a_colour_image_carry_marks():
    from polyclinic.core.modality import Record

    modality = load_modality("imaging")
    rng = np.random.default_rng(0)
    for image in (
        rng.integers(0, 4096, (3, 40, 40)).astype(np.uint16),
        rng.integers(0, 256, (40, 40, 3)).astype(np.uint8),
    ):
        marked = modality.mark(Record({"image": image}), OURS, "p")
        assert marked.arrays["image"].dtype == image.dtype
        assert modality.marks(marked, OURS, "p").log10_false_positive < PATIENT


@pytest.mark.parametrize("name", KINDS)
def test_no_feature_that_scores_rest_on_feels_the_mark(name, drawn):
    modality = load_modality(name)
    rows = of(drawn, name)
    marked = [modality.mark(record, OURS, profile.patient_id) for profile, record in rows]
    for view in modality.views():
        plain = view.features([record for _, record in rows])
        moved = (view.features(marked) - plain).abs()
        spread = plain.std().clip(lower=1e-9)
        assert float((moved.mean() / spread).median()) < 0.01, view.name
        assert float((moved.mean() / spread).quantile(0.95)) < 0.1, view.name


# -- whole cohorts


def test_a_marked_cohort_has_the_same_bytes_however_drawn_and_is_found(tmp_path):
    Mark.new(tmp_path / "key")
    Mark.new(tmp_path / "other")
    population, kinds = Population.load("cardio_oncology"), ("imaging", "records", "signals")
    made = [
        engine.make(
            population,
            3,
            9,
            tmp_path / name,
            modalities=kinds,
            watermark=tmp_path / "key",
            workers=1,
            batch_size=size,
        )
        for name, size in (("a", 16), ("b", 1))
    ]
    assert made[0].manifest == made[1].manifest
    plain = engine.make(population, 3, 9, tmp_path / "plain", modalities=kinds, workers=1)
    assert plain.manifest["files"] != made[0].manifest["files"]

    key = Mark.load(tmp_path / "key")
    found = verification.read_watermark(made[0], key)
    assert found.found
    assert found.patients == 3
    assert found.whole.log10_false_positive < COHORT
    assert not verification.read_watermark(plain, key).found
    assert key.key.hex() not in (tmp_path / "a" / "manifest.json").read_text()

    for how, message in ((None, "carries the watermark of key"), (tmp_path / "other", "was marked with")):
        with pytest.raises(InputError, match=message):
            engine.run(Cohort.open(tmp_path / "a"), 1, watermark=how)
    with pytest.raises(InputError, match="cannot resume, watermark is"):
        engine.make(population, 3, 9, tmp_path / "a", modalities=kinds, workers=1, resume=True)
