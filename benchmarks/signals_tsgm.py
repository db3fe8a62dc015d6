"""The one place that knows tsgm: its BetaVAE as a baseline, two of its metrics, for hourly vitals.

tsgm needs pandas below 3 and takes over ten seconds to import, so it runs in a process of its own: that of this
Python where the extra `tsgm` is installed, else of the one that POLYCLINIC_TSGM_PYTHON names (numpy, torch and
tsgm are enough there). Its models know neither gaps nor labels: gaps are filled with the stay's mean and drawn
anew from train rows.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stays = NDArray[np.float32]  # (stay, hour, channel), NaN not charted
PYTHON = "POLYCLINIC_TSGM_PYTHON"
ABSENT = f"not measured: pip install 'polyclinic[tsgm]', or name a Python that has tsgm in {PYTHON}"
BASE = "tsgm BetaVAE"
TRAINED_ON = 3000  # stays
PAIRS = 500  # the kernel of MMD takes all pairs at once


def python() -> str | None:
    """The interpreter that has tsgm."""
    return sys.executable if find_spec("tsgm") else os.environ.get(PYTHON)


def measured(
    runner: str,
    train: Stays,
    real: Stays,
    others: Mapping[str, Stays],
    seed: int,
    epochs: int,
) -> tuple[Stays, dict[tuple[str, str], float]]:
    """Stays of the BetaVAE, as many as real ones, and (metric, whose) of them and of `others`, by this interpreter."""
    with tempfile.TemporaryDirectory() as name:
        given, found = Path(name) / "given.npz", Path(name) / "found.npz"
        np.savez(
            given,
            train=train[:TRAINED_ON],
            real=real,
            **{f"of {n}": s for n, s in others.items()},
        )
        command = [runner, __file__, str(given), str(found), str(seed), str(epochs)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with np.load(found) as file:
            keys = [key for key in file.files if key != "drawn"]
            return file["drawn"], {tuple(key.split("|", 1)): float(file[key]) for key in keys}


def _worker(given: Path, found: Path, seed: int, epochs: int) -> None:
    """What measured() asks for, in the process that has tsgm."""
    with np.load(given) as file:
        train, real = file["train"], file["real"]
        others = {key.removeprefix("of "): file[key] for key in file.files if key.startswith("of ")}
    drawn = betavae(train, len(real), seed, epochs)
    out = {
        f"{metric}|{name}": measure(real[:PAIRS], stays[:PAIRS])
        for name, stays in {**others, BASE: drawn}.items()
        for metric, measure in (("MMD (tsgm)", mmd), ("distance (tsgm)", distance))
    }
    np.savez(found, drawn=drawn, **out)


def _tsgm() -> Any:
    os.environ["KERAS_BACKEND"] = "torch"  # no TensorFlow; read when keras is imported
    os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")
    import tsgm

    return tsgm


Scale = tuple[NDArray[np.float32], NDArray[np.float32]]


def _scale(stays: Stays) -> Scale:
    """Means and deviations (channel,)."""
    return np.nanmean(stays, axis=(0, 1)), np.nanstd(stays, axis=(0, 1))


def _filled(stays: Stays, scale: Scale) -> NDArray[np.float32]:
    """(stay, hour, channel) scaled, gaps at the stay's own mean."""
    scaled = (stays - scale[0]) / scale[1]
    count = np.isfinite(scaled).sum(1, keepdims=True).clip(min=1)
    own = np.nansum(scaled, axis=1, keepdims=True) / count
    return np.where(np.isfinite(scaled), scaled, own).astype(np.float32)


def betavae(train: Stays, count: int, seed: int, epochs: int = 20) -> Stays:
    """`count` stays of tsgm's BetaVAE (its convolutional architecture, 32 latents), with the gaps of train rows."""
    tsgm = _tsgm()
    import keras

    keras.utils.set_random_seed(seed)
    scale = _scale(train)
    x = _filled(train, scale)
    shape = tsgm.models.zoo["vae_conv5"](x.shape[1], x.shape[2], 32)
    model = tsgm.models.cvae.BetaVAE(shape.encoder, shape.decoder)
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=1e-3))
    model.fit(x, epochs=epochs, batch_size=128, verbose=0)
    drawn = keras.ops.convert_to_numpy(model.generate(count)) * scale[1] + scale[0]
    gaps = np.isnan(train[np.random.default_rng(seed).integers(len(train), size=count)])
    return np.where(gaps, np.nan, drawn).astype(np.float32)


def mmd(real: Stays, other: Stays) -> float:
    """Maximum mean discrepancy (Gretton et al. 2012), its width by the median of distances between real stays."""
    tsgm = _tsgm()
    scale = _scale(real)
    both = [_filled(stays, scale) for stays in (real, other)]
    some = both[0][:200].reshape(min(200, len(real)), -1)
    far = ((some[:, None] - some[None]) ** 2).sum(-1)
    width = float(np.sqrt(np.median(far[far > 0]) / 2))
    # its kernel is of width 1
    return float(tsgm.metrics.MMDMetric()(*(part / width for part in both)))


def distance(real: Stays, other: Stays) -> float:
    """Root mean square difference of each channel's mean, least and most, scaled: tsgm's DistanceMetric."""
    tsgm = _tsgm()
    scale = _scale(real)
    of = tsgm.metrics.statistics
    said = [lambda x, of_=of_: of_(x, axis=1) for of_ in (of.axis_mean_s, of.axis_min_s, of.axis_max_s)]
    metric = tsgm.metrics.DistanceMetric(
        statistics=said,
        discrepancy=lambda a, b: np.linalg.norm(a - b) / np.sqrt(len(a)),
    )
    return float(metric(_filled(real, scale), _filled(other, scale)))


if __name__ == "__main__":
    _worker(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
