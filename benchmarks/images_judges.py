"""What judges images in benchmarks/images.py: classifiers, the feature net, diversity, copies. No bars here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from torch import nn

from polyclinic import PatientProfile
from polyclinic.core.device import half_is_fast
from polyclinic.core.modality import Record, View
from polyclinic.eval.attacks.membership import AttackData, by_density, by_distance, embed
from polyclinic.eval.metrics.structured import ms_ssim
from polyclinic.eval.sample import Sample
from polyclinic.modalities.imaging.features import FeatureSpace
from polyclinic.modalities.imaging.generator import levels
from polyclinic.modalities.imaging.metrics import features

__all__ = ["FeatureSpace", "ms_ssim"]  # evaluate's own, for the benchmarks that judge images

Pixels = NDArray[np.float32]  # (image, y, x) in [0, 1]
Labels = NDArray[np.bool_]
EPOCHS = 6


def logistic(x: Pixels, y: Labels, test: Pixels) -> NDArray[np.float64]:
    """(test image,) scores of a logistic regression on all pixels."""

    def flat(images: Pixels) -> NDArray[np.float64]:
        return ((images.reshape(len(images), -1) - 0.5) * 4).astype(np.float64)

    model = LogisticRegression(C=1e-3, max_iter=400).fit(flat(x), y)
    return np.asarray(model.decision_function(flat(test)))


class SmallCnn(nn.Sequential):
    """Six convolutions, 16 to 64 channels."""

    def __init__(self, before: int = 1) -> None:
        layers: list[nn.Module] = []
        for width in (16, 32, 64):
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.GroupNorm(4, width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(4, width), nn.SiLU()]
            before = width
        super().__init__(
            *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * before, 1)
        )


def convolutional(
    x: Pixels, y: NDArray[np.floating] | Labels, test: Pixels, seed: int = 0, epochs: int = EPOCHS
) -> NDArray[np.float64]:
    """(test image,) scores of a small CNN trained from scratch; both classes weigh the same.

    Images may have planes of colour, (image, plane, y, x).
    """
    return scores(learnt(x, y, seed, epochs), test)


def learnt(
    x: Pixels, y: NDArray[np.floating] | Labels, seed: int = 0, epochs: int = EPOCHS
) -> NDArray[np.float32]:
    """The numbers of convolutional()'s CNN, for scores()."""
    torch.manual_seed(seed)
    x = x if x.ndim == 4 else x[:, None]
    net = SmallCnn(x.shape[1])
    images, wanted = torch.from_numpy(x) * 2 - 1, torch.from_numpy(np.asarray(y, dtype=np.float32))
    batches = [b for _ in range(epochs) for b in torch.randperm(len(x)).split(64) if len(b) > 1]
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=len(batches) + 1)
    loss_of = nn.BCEWithLogitsLoss(pos_weight=(1 - wanted).sum() / wanted.sum())
    for rows in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=half_is_fast(torch.device("cpu"))):
            logits = net(images[rows])[:, 0]
        loss = loss_of(logits.float(), wanted[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return nn.utils.parameters_to_vector(net.parameters()).detach().numpy()


def scores(numbers: NDArray[np.float32], images: Pixels) -> NDArray[np.float64]:
    """(image,) of learnt()'s CNN."""
    images = images if images.ndim == 4 else images[:, None]
    net = SmallCnn(images.shape[1]).eval()
    nn.utils.vector_to_parameters(torch.from_numpy(numbers), net.parameters())
    with torch.no_grad():
        return net(torch.from_numpy(images) * 2 - 1)[:, 0].double().numpy()


def auroc(scores: NDArray[np.floating], truth: Labels) -> float:
    """Area under the receiver operating characteristic."""
    return float(roc_auc_score(truth, scores))


def mean_auroc(scores: NDArray[np.floating], truth: Labels) -> float:
    """Mean of several classifiers' (classifier, test image)."""
    return float(np.mean([auroc(row, truth) for row in scores]))


def ratio_interval(
    own: NDArray[np.floating], real: NDArray[np.floating], truth: Labels, draws: int = 200
) -> tuple[float, float]:
    """95 % of the ratio of two mean_auroc(), the same test images drawn again for both."""
    random, found = np.random.default_rng(0), []
    while len(found) < draws:
        rows = random.integers(len(truth), size=len(truth))
        if truth[rows].any() and not truth[rows].all():
            found.append(mean_auroc(own[:, rows], truth[rows]) / mean_auroc(real[:, rows], truth[rows]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def age_probe(x: Pixels, age: NDArray[np.float64], test: Pixels, space: FeatureSpace) -> NDArray[np.float64]:
    """(test image,) ages, by ridge regression on coarse pixels and features."""

    def inputs(images: Pixels) -> NDArray[np.float64]:
        coarse = images.reshape(len(images), 16, 4, 16, 4).mean((2, 4)).reshape(len(images), -1)
        return np.hstack([coarse * 8, space(images)])

    return np.asarray(Ridge(alpha=30.0).fit(inputs(x), age).predict(inputs(test)))


def nearest_rank_correlation(images: Pixels, originals: Pixels) -> NDArray[np.float64]:
    """(image,) greatest Spearman correlation with an original, at 32 x 32 pixels; blind to contrast stretching."""

    def ranks(x: Pixels) -> NDArray[np.float32]:
        coarse = x.reshape(len(x), 32, 2, 32, 2).mean((2, 4)).reshape(len(x), -1)
        r = rankdata(coarse, axis=1)
        r -= r.mean(1, keepdims=True)
        return (r / np.linalg.norm(r, axis=1, keepdims=True)).astype(np.float32)

    theirs = ranks(originals)
    return np.concatenate(
        [(ranks(images[i : i + 256]) @ theirs.T).max(1) for i in range(0, len(images), 256)]
    )


def described(images: Pixels) -> NDArray[np.float64]:
    """(image, number) of images (image, y, x) or (image, plane, y, x): what evaluate describes images by."""
    planes = images if images.ndim == 4 else images[:, None]
    records = [Record({"image": levels(image * 2 - 1)}) for image in planes]
    return np.asarray(features(records).to_numpy(), dtype=np.float64)


Side = tuple[Pixels, Sequence[PatientProfile]]  # images, and whose they are


def membership(synthetic: Side, train: Side, test: Side, seed: int) -> float:
    """The greater AUC of two attacks on patients: nearest record, and density; train rows are the members."""
    view = View("image", "Images", "imaging", lambda records: pd.DataFrame(), (), lambda *_: "", "")

    def sample(side: Side) -> Sample:
        table = pd.DataFrame(described(side[0])).rename(columns=str)
        return Sample(table, table, tuple(side[1]), {}, [])

    embedding = embed(AttackData(view, sample(synthetic), sample(train), sample(test)), seed)
    return max(auroc(attack(embedding), embedding.member) for attack in (by_distance, by_density))
