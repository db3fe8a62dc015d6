"""The one place that knows tsgm: its BetaVAE as a baseline, its MMD as a metric, for hourly vitals.

tsgm (extra `tsgm`, pandas below 3) takes over ten seconds to import, so it is imported when it is used. Its
models know neither gaps nor labels: gaps are filled with the stay's mean and drawn anew from train rows.
"""

import os
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stays = NDArray[np.float32]  # (stay, hour, channel), NaN not charted


def available() -> bool:
    """Whether the extra is installed."""
    return find_spec("tsgm") is not None


def _tsgm() -> Any:
    os.environ["KERAS_BACKEND"] = "torch"  # read when keras is imported
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
