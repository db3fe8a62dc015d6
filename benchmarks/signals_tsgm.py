"""tsgm's BetaVAE as a baseline for hourly vitals; its metrics are those of polyclinic.eval.metrics.tsgm_adapter.

The model knows neither gaps nor labels: gaps are filled with the stay's mean and drawn anew from train rows.
"""

import numpy as np

from polyclinic.eval.metrics.tsgm_adapter import Stays, filled, load, scale_of

BASE = "tsgm BetaVAE"
TRAINED_ON = 3000  # stays
MEASURED_ON = 500  # stays a side, by tsgm's metrics


def betavae(train: Stays, count: int, seed: int, epochs: int = 20) -> Stays:
    """`count` stays of tsgm's BetaVAE (its convolutional architecture, 32 latents), with the gaps of train rows."""
    tsgm = load()
    import keras

    keras.utils.set_random_seed(seed)
    scale = scale_of(train)
    x = filled(train, scale)
    low, high = x.min((0, 1)), x.max((0, 1))
    span = np.where(high > low, high - low, 1)
    x = (x - low) / span  # its decoder ends in a sigmoid
    shape = tsgm.models.zoo["vae_conv5"](x.shape[1], x.shape[2], 32)
    model = tsgm.models.cvae.BetaVAE(shape.encoder, shape.decoder)
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=1e-3))
    model.fit(x, epochs=epochs, batch_size=128, verbose=0)
    drawn = (keras.ops.convert_to_numpy(model.generate(count)) * span + low) * scale[1] + scale[0]
    gaps = np.isnan(train[np.random.default_rng(seed).integers(len(train), size=count)])
    return np.where(gaps, np.nan, drawn).astype(np.float32)
