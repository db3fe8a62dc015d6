"""Histogram matching: bands and grey levels vary as those of real images do, and nothing else changes."""

from collections.abc import Callable

import numpy as np
import pytest
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
    return np.asarray((0.5 + 0.1 * tones * smooth + 0.02 * grain).clip(0, 1))[:, None]


def colours(count: int, seed: int, sharpness: float, greys: float) -> NDArray[np.float64]:
    """The same in three colours, each of its own strength."""
    return np.concatenate([images(count, 10 * seed + i, sharpness, greys) for i in range(3)], axis=1)


def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(band,) how widely the log power of a band differs from image to image."""
    power, _ = histogram_matching.parted(histogram_matching.features(values))
    return np.asarray(power.std(0))


DRAWN, REAL, FRESH = images(200, 0, 0.05, 0.05), images(200, 1, 0.4, 0.3), images(200, 2, 0.05, 0.05)
FITTED = histogram_matching.fit(DRAWN, REAL)


@pytest.mark.parametrize("made", [images, colours])
def test_images_are_spread_as_real_ones_are(made: Callable[..., NDArray[np.float64]]) -> None:
    drawn, real, fresh = made(200, 0, 0.05, 0.05), made(200, 1, 0.4, 0.3), made(200, 2, 0.05, 0.05)
    maps = histogram_matching.fit(drawn, real)
    matched = np.stack([maps(image) for image in fresh])
    gap = [np.abs(spread(group) - spread(real)).mean() for group in (fresh, matched)]
    assert gap[1] < 0.4 * gap[0]
    deviation = [group.std((1, 2, 3)).std() for group in (fresh, matched, real)]
    assert abs(deviation[1] - deviation[2]) < 0.5 * abs(deviation[0] - deviation[2])


def test_images_that_are_as_real_ones_stay() -> None:
    same = histogram_matching.fit(REAL[:100], REAL[:100])
    assert max(np.abs(same(image) - image).max() for image in REAL[:20]) < 0.02


def test_what_an_image_shows_stays() -> None:
    for image in FRESH[:20]:
        assert np.corrcoef(image.ravel(), FITTED(image).ravel())[0, 1] > 0.9


@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(8, 40), st.sampled_from([1, 3]))
def test_bands_add_up_to_the_image(seed: int, rows: int, columns: int, planes: int) -> None:
    """All of the image but its mean, that is: with the same power everywhere it is drawn as it was."""
    image = np.random.default_rng(seed).random((planes, rows, columns))
    shares = histogram_matching.masks(rows, columns)
    assert np.allclose(shares.sum(0).ravel()[1:], 1)
    assert not shares[:, 0, 0].any()
    back = histogram_matching.coloured(histogram_matching.along_axes(image))
    assert np.allclose(back, image)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(4, 20),
    st.integers(4, 20),
    st.integers(0, histogram_matching.BANDS - 1),
)
def test_a_bands_power_is_that_of_the_mirrored_image(seed: int, rows: int, columns: int, band: int) -> None:
    """Against Fourier's transform of the image with its mirror images, as it is defined."""
    image = np.random.default_rng(seed).random((1, rows, columns))
    whole = np.block([[image[0], image[0][:, ::-1]], [image[0][::-1], image[0][::-1, ::-1]]])
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(2 * rows), np.fft.fftfreq(2 * columns), indexing="ij"))
    step = np.log(0.5 / histogram_matching.COARSEST) / (histogram_matching.BANDS - 1)
    place = np.log(np.maximum(frequency, 1e-6) / histogram_matching.COARSEST) / step
    share = np.clip(1 - np.abs(place.clip(0, histogram_matching.BANDS - 1) - band), 0, 1)
    share[0, 0] = 0
    part = np.fft.ifft2(np.fft.fft2(whole) * share).real
    found = histogram_matching.powers(histogram_matching.cosines(image))[band]
    assert np.exp(found) - histogram_matching.TINY == pytest.approx(part.std(), abs=1e-9)


def test_flat_and_black_images_pass() -> None:
    for level in (0.0, 0.5, 1.0):
        out = FITTED(np.full((1, SIDE, SIDE), level))
        assert np.isfinite(out).all()
        assert 0 <= out.min() <= out.max() <= 1


def test_half_precision_is_enough() -> None:
    halves = {
        name: torch.from_numpy(array).half().double().numpy() for name, array in FITTED.tensors().items()
    }
    again = histogram_matching.HistogramMatching.restore(halves)
    assert max(np.abs(again(image) - FITTED(image)).max() for image in FRESH[:20]) < 0.01


@given(
    st.lists(st.floats(0, 1), min_size=14, max_size=14), st.lists(st.floats(0, 1), min_size=14, max_size=14)
)
def test_tone_curves_of_colour_have_neither_cliffs_nor_plateaus(
    before: list[float], after: list[float]
) -> None:
    rising, wanted = np.sort(before), np.sort(after)
    curve = histogram_matching.gentle(rising, wanted)
    steps, most = np.diff(rising), histogram_matching.STEEPEST
    assert (np.diff(curve) <= steps * most + 1e-12).all()
    assert (np.diff(curve) >= steps / most - 1e-12).all()
    assert curve[histogram_matching.MEDIAN] == pytest.approx(wanted[histogram_matching.MEDIAN])
    np.testing.assert_allclose(histogram_matching.gentle(rising, rising), rising, atol=1e-12)
