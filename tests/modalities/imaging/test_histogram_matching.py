"""The finish of a film: bands and greys as widely spread as real ones', and nothing else changed."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyclinic.modalities.imaging import histogram_matching

SIDE = 32


def films(count: int, seed: int, sharpness: float, greys: float) -> NDArray[np.float64]:
    """Smooth shapes under a grain; both of a strength that differs by film."""
    random = np.random.default_rng(seed)
    smooth = random.normal(size=(count, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)
    grain = random.normal(size=(count, SIDE, SIDE)) * np.exp(sharpness * random.normal(size=(count, 1, 1)))
    tones = np.exp(greys * random.normal(size=(count, 1, 1)))
    return np.asarray((0.5 + 0.1 * tones * smooth + 0.02 * grain).clip(0, 1))


def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(band,) how widely the log power of a band differs from film to film."""
    return np.asarray(
        np.stack([histogram_matching.powers(histogram_matching.split(film)) for film in values]).std(0)
    )


DRAWN, REAL, FRESH = films(200, 0, 0.05, 0.05), films(200, 1, 0.4, 0.3), films(200, 2, 0.05, 0.05)
FITTED = histogram_matching.fit(DRAWN, REAL)


def test_films_are_spread_as_real_ones_are() -> None:
    finished = np.stack([FITTED(film) for film in FRESH])
    gap = [np.abs(spread(own) - spread(REAL)).mean() for own in (FRESH, finished)]
    assert gap[1] < 0.4 * gap[0]
    deviation = [own.std((1, 2)).std() for own in (FRESH, finished, REAL)]
    assert abs(deviation[1] - deviation[2]) < 0.5 * abs(deviation[0] - deviation[2])


def test_films_that_are_as_real_ones_stay() -> None:
    same = histogram_matching.fit(REAL[:100], REAL[:100])
    assert max(np.abs(same(film) - film).max() for film in REAL[:20]) < 0.02


def test_what_a_film_shows_stays() -> None:
    for film in FRESH[:20]:
        assert np.corrcoef(film.ravel(), FITTED(film).ravel())[0, 1] > 0.9


@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(8, 40))
def test_bands_add_up_to_the_film(seed: int, rows: int, columns: int) -> None:
    film = np.random.default_rng(seed).random((2 * rows, 2 * columns))
    assert np.allclose(histogram_matching.split(film).sum(0), film - film_mean(film), atol=1e-9)


def film_mean(film: NDArray[np.float64]) -> float:
    """The mirrored film's mean is what no band holds."""
    rows, columns = film.shape
    return float(np.pad(film, ((rows // 2,) * 2, (columns // 2,) * 2), mode="symmetric").mean())


def test_flat_and_black_films_pass() -> None:
    for level in (0.0, 0.5, 1.0):
        out = FITTED(np.full((SIDE, SIDE), level))
        assert np.isfinite(out).all()
        assert 0 <= out.min() <= out.max() <= 1


def test_half_precision_is_enough() -> None:
    halves = {
        name: torch.from_numpy(array).half().double().numpy() for name, array in FITTED.tensors().items()
    }
    again = histogram_matching.Finish.restore(halves)
    assert max(np.abs(again(film) - FITTED(film)).max() for film in FRESH[:20]) < 0.01
