"""Histogram matching: bands and grey levels vary as those of real images do, and nothing else changes."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyclinic.modalities.imaging import histogram_matching

SIDE = 32


def images(count: int, seed: int, sharpness: float, greys: float) -> NDArray[np.float64]:
    """Smooth shapes under a grain; both of a strength that differs by image."""
    random = np.random.default_rng(seed)
    smooth = random.normal(size=(count, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)
    grain = random.normal(size=(count, SIDE, SIDE)) * np.exp(sharpness * random.normal(size=(count, 1, 1)))
    tones = np.exp(greys * random.normal(size=(count, 1, 1)))
    return np.asarray((0.5 + 0.1 * tones * smooth + 0.02 * grain).clip(0, 1))


def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(band,) how widely the log power of a band differs from image to image."""
    return np.asarray(
        np.stack([histogram_matching.powers(histogram_matching.split(image)) for image in values]).std(0)
    )


DRAWN, REAL, FRESH = images(200, 0, 0.05, 0.05), images(200, 1, 0.4, 0.3), images(200, 2, 0.05, 0.05)
FITTED = histogram_matching.fit(DRAWN, REAL)


def test_films_are_spread_as_real_ones_are() -> None:
    matched = np.stack([FITTED(image) for image in FRESH])
    gap = [np.abs(spread(group) - spread(REAL)).mean() for group in (FRESH, matched)]
    assert gap[1] < 0.4 * gap[0]
    deviation = [group.std((1, 2)).std() for group in (FRESH, matched, REAL)]
    assert abs(deviation[1] - deviation[2]) < 0.5 * abs(deviation[0] - deviation[2])


def test_films_that_are_as_real_ones_stay() -> None:
    same = histogram_matching.fit(REAL[:100], REAL[:100])
    assert max(np.abs(same(image) - image).max() for image in REAL[:20]) < 0.02


def test_what_a_film_shows_stays() -> None:
    for image in FRESH[:20]:
        assert np.corrcoef(image.ravel(), FITTED(image).ravel())[0, 1] > 0.9


@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(8, 40))
def test_bands_add_up_to_the_film(seed: int, rows: int, columns: int) -> None:
    image = np.random.default_rng(seed).random((2 * rows, 2 * columns))
    assert np.allclose(histogram_matching.split(image).sum(0), image - film_mean(image), atol=1e-9)


def film_mean(image: NDArray[np.float64]) -> float:
    """The mirrored image's mean is what no band holds."""
    rows, columns = image.shape
    return float(np.pad(image, ((rows // 2,) * 2, (columns // 2,) * 2), mode="symmetric").mean())


def test_flat_and_black_films_pass() -> None:
    for level in (0.0, 0.5, 1.0):
        out = FITTED(np.full((SIDE, SIDE), level))
        assert np.isfinite(out).all()
        assert 0 <= out.min() <= out.max() <= 1


def test_half_precision_is_enough() -> None:
    halves = {
        name: torch.from_numpy(array).half().double().numpy() for name, array in FITTED.tensors().items()
    }
    again = histogram_matching.HistogramMatching.restore(halves)
    assert max(np.abs(again(image) - FITTED(image)).max() for image in FRESH[:20]) < 0.01
