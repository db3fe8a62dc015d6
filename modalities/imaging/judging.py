"""What judges images in training: a random forest that tells drawn from real ones by the features of evaluate."""

import numpy as np

from ...core.modality import Record
from ...core.types import Float32Array, FloatArray, IntArray
from .generator import levels
from .metrics import features


def described(images: Float32Array) -> FloatArray:
    """(image, feature) of (image, channel, y, x) in [-1, 1]."""
    records = [Record({"image": levels(image)}) for image in images]
    return np.asarray(features(records).to_numpy(), dtype=np.float64)


def scored(real: FloatArray, drawn: FloatArray, seed: int, trees: int) -> tuple[IntArray, FloatArray]:
    """(image,) 1 of a real and 0 of a drawn one, and how real a forest that has not seen it finds it; five folds."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    x, y = np.concatenate([real, drawn]), np.repeat([1, 0], [len(real), len(drawn)])
    forest = RandomForestClassifier(trees, min_samples_leaf=2, random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return y, cross_val_predict(forest, x, y, cv=folds, method="predict_proba")[:, 1]
