"""Maps to a hospital's images: one patient moves little, noise leaves the draws as they are."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyclinic.modalities.imaging import histogram_matching, private_matching
from polyclinic.modalities.imaging.private_matching import Moments


def images(count: int, seed: int, sharpness: float, greys: float) -> NDArray[np.float64]:
    """Smooth shapes under a grain; both of a strength that differs by image."""
    random = np.random.default_rng(seed)
    smooth = random.normal(size=(count, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)
    grain = random.normal(size=(count, 32, 32)) * np.exp(sharpness * random.normal(size=(count, 1, 1)))
    tones = np.exp(greys * random.normal(size=(count, 1, 1)))
    return np.asarray((0.5 + 0.1 * tones * smooth + 0.02 * grain).clip(0, 1))[:, None]


def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(band,) how widely the log power of a band differs from image to image."""
    return np.asarray(histogram_matching.features(values)[:, : histogram_matching.BANDS].std(0))


DRAWN, REAL, FRESH = images(200, 0, 0.05, 0.05), images(200, 1, 0.4, 0.3), images(100, 2, 0.05, 0.05)
OWN, THEIRS = histogram_matching.features(DRAWN), histogram_matching.features(REAL)


class Silent:
    """Noise that is zero, so that what is released is seen as it is."""

    def standard_normal(self, size: tuple[int, ...] | int) -> NDArray[np.float64]:
        return np.zeros(size)


def products(rows: NDArray[np.float64], patients: int) -> NDArray[np.float64]:
    """The sums that noise is added to, in units of one patient's greatest share."""
    found = Moments.released(rows, OWN, 0.0, Silent())  # type: ignore[arg-type]
    bound = private_matching.LONGEST * np.sqrt(rows.shape[1])
    weight = private_matching.MEAN_WEIGHT
    first = found.mean / bound * weight
    second = (found.covariance + np.outer(found.mean, found.mean)) / bound**2
    whole = np.block([[np.array([[weight**2]]), first[None]], [first[:, None], second]])
    return np.asarray(whole * patients / (1 + weight**2))


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e6))
@settings(max_examples=40, deadline=None)
def test_one_patient_moves_the_released_sums_by_one_at_most(seed: int, size: float) -> None:
    random = np.random.default_rng(seed)
    rows = THEIRS[random.permutation(len(THEIRS))[:30]].copy()
    rows[0] += size * random.standard_normal(rows.shape[1])
    assert np.linalg.norm(products(rows, 30) - products(rows[1:], 29)) <= 1 + 1e-9


def test_under_little_noise_images_are_spread_as_the_hospitals_are(tmp_path: Path) -> None:
    maps = private_matching.fit_private(
        DRAWN, REAL, 0.1, tmp_path / "matching.json", False, np.random.default_rng(0)
    )
    matched = np.stack([maps(image) for image in FRESH])
    gap = [np.abs(spread(group) - spread(REAL)).mean() for group in (FRESH, matched)]
    assert gap[1] < 0.6 * gap[0]


def test_what_is_lost_in_noise_is_left_as_it_was_drawn(tmp_path: Path) -> None:
    maps = private_matching.fit_private(
        DRAWN, REAL, 1e5, tmp_path / "matching.json", False, np.random.default_rng(0)
    )
    assert np.median([np.abs(maps(image) - image).max() for image in FRESH[:40]]) < 0.1


def test_a_resumed_run_reads_what_it_released(tmp_path: Path) -> None:
    path, random = tmp_path / "run" / "matching.json", np.random.default_rng(0)
    first = private_matching.fit_private(DRAWN, REAL, 0.5, path, False, random)
    again = private_matching.fit_private(DRAWN, DRAWN, 0.5, path, True, random)
    for name, array in first.tensors().items():
        np.testing.assert_array_equal(array, again.tensors()[name])
    other = private_matching.fit_private(DRAWN, REAL, 0.5, path, False, random)
    assert np.abs(other.bands - first.bands).max() > 0


def test_a_vector_keeps_what_is_not_noise() -> None:
    assert private_matching.kept(np.ones(10), 0.0) == 1
    assert private_matching.kept(np.ones(10), 0.5) == pytest.approx(0.75)
    assert private_matching.kept(np.ones(10), 2.0) == private_matching.kept(np.zeros(10), 1.0) == 0
