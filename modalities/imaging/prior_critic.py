"""Train the critic of a Gaussian prior: a network that learns to tell real coarse images from the prior's draws.

Real images do not fill the normal distributions that are fitted to them. The log ratio of real to drawn, which a
classifier comes to, weighs draws (sampling importance resampling, Rubin 1988): what it chooses is nearer to real.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ...core.critic import Critic
from ...core.profile import PatientProfile
from ...core.training.weights import figures
from ...core.types import BoolArray, Float32Array, FloatArray, IntArray
from .gaussian_prior import GaussianPrior
from .judging import described, scored

Pictures = Callable[
    [FloatArray | Float32Array], Float32Array
]  # (row, component) -> (row, channel, y, x) in [-1, 1]
DRAWS = 8  # of the prior for each image, among which the network learns
HELD_OUT = 8  # one in so many patients judges
LEAST, MOST = 40, 800  # images that judge
WIDTH, DROPOUT, DECAY, RATE, BATCH = 256, 0.2, 0.1, 1e-3, 256
STEPS, EVERY, PATIENCE = 4000, 100, 8  # at most; between judgements; judgements without a better one
ROUNDS, TREES = 3, 200  # choices that are judged, and by how many trees


def train(
    prior: GaussianPrior, z: FloatArray, code: Float32Array, profiles: Sequence[PatientProfile], seed: int,
    pictures: Pictures, minutes: float | None = None,
) -> tuple[Critic | None, dict[str, float]]:  # fmt: skip
    """The critic, or None where it does not help, and the AUCs that say so.

    z (row, component) are images of these profiles, code (row, column) what the prior knows of them; `pictures` shows
    components as coarse images. One in HELD_OUT patients judges: when the network stops, and whether a forest (features
    of evaluate) tells their coarse images from those that it chooses less surely than from draws as they come. The
    network learns for so many minutes at most.
    """
    z = z[:, : prior.rank]
    patients = sorted({profile.patient_id for profile in profiles})
    order = np.random.default_rng(seed).permutation(len(patients))
    judges = {patients[i] for i in order[: len(patients) // HELD_OUT]}
    held = np.array([profile.patient_id in judges for profile in profiles])
    if held.sum() < LEAST:
        return None, {}
    random = np.random.default_rng([seed, 1])
    drawn = _drawn(prior, code, profiles, random)
    critic = _learnt(z, drawn, code, held, seed, minutes)
    before, after = [], []
    own = np.flatnonzero(held)[:MOST]
    real = described(pictures(z[own]))
    for k in range(ROUNDS):
        plain = drawn[random.integers(DRAWS, size=len(own)), own]
        chosen = _chosen(critic, drawn[:, own], code[own], random)
        before.append(_auc(real, pictures(plain), seed + k))
        after.append(_auc(real, pictures(chosen), seed + k))
    found = figures(prior_auc=float(np.mean(before)), prior_auc_chosen=float(np.mean(after)))
    return (critic if np.mean(after) < np.mean(before) else None), found


def missed(found: Mapping[str, float]) -> str:
    """Why train() left the critic out."""
    if not found:
        return f"too few patients, of whom one in {HELD_OUT} judges, which takes {LEAST} images"
    before, after = found["prior_auc"], found["prior_auc_chosen"]
    return f"it does not help (AUC of a forest {before:.3f} against draws, {after:.3f} against its choice)"


def _drawn(
    prior: GaussianPrior, code: Float32Array, profiles: Sequence[PatientProfile], random: np.random.Generator
) -> Float32Array:
    """(draw, row, component)."""
    return np.stack(
        [
            np.stack(
                [prior.proposed(profile, row, random) for profile, row in zip(profiles, code, strict=True)]
            )
            for _ in range(DRAWS)
        ]
    )


def _learnt(
    z: FloatArray, drawn: Float32Array, code: Float32Array, held: BoolArray, seed: int, minutes: float | None
) -> Critic:
    """The network with the least loss on held-out rows."""
    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    torch.manual_seed(seed)
    seen = np.hstack([z, code])[~held]
    middle, spread = seen.mean(0).astype(np.float32), seen.std(0).astype(np.float32)
    spread[spread < 1e-3] = 1  # a column of the code that nobody has

    def scaled(rows: FloatArray, of: BoolArray) -> Tensor:
        joined = np.hstack([rows, code[of]])
        return torch.from_numpy(((joined - middle) / spread).astype(np.float32))

    real = scaled(z[~held], ~held)
    fakes = torch.cat([scaled(part[~held], ~held) for part in drawn])
    shown, shown_fakes = scaled(z[held], held), torch.cat([scaled(part[held], held) for part in drawn])
    net = nn.Sequential(
        nn.Linear(real.shape[1], WIDTH), nn.ReLU(), nn.Dropout(DROPOUT),
        nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, 1),
    )  # fmt: skip

    def loss(own: Tensor, others: Tensor) -> Tensor:
        return softplus(-net(own)).mean() + softplus(net(others)).mean()

    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    best, since, kept = np.inf, 0, _layers(net)
    for step in range(STEPS):
        net.train()
        some = loss(real[torch.randint(len(real), (BATCH,))], fakes[torch.randint(len(fakes), (BATCH,))])
        optimizer.zero_grad()
        some.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % EVERY == EVERY - 1:
            net.eval()
            with torch.no_grad():
                now = float(loss(shown, shown_fakes))
            since += 1
            if now < best:
                best, since, kept = now, 0, _layers(net)
            if since > PATIENCE or time.monotonic() > until:
                break
    return Critic(kept, middle, spread)


def _layers(net: nn.Sequential) -> tuple[tuple[Float32Array, Float32Array], ...]:
    lines = [part for part in net if isinstance(part, nn.Linear)]
    return tuple((line.weight.detach().numpy().copy(), line.bias.detach().numpy().copy()) for line in lines)


def _chosen(
    critic: Critic, drawn: Float32Array, code: Float32Array, random: np.random.Generator
) -> Float32Array:
    """(row, component): one of each row's draws (draw, row, component)."""
    places: IntArray = np.array(
        [
            critic.choose(random, np.hstack([drawn[:, i], np.tile(row, (len(drawn), 1))]))
            for i, row in enumerate(code)
        ]
    )
    return np.asarray(drawn[places, np.arange(len(code))])


def _auc(real: FloatArray, images: Float32Array, seed: int) -> float:
    """With which the forest tells drawn images from the features of real ones."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*scored(real, described(images), seed, TREES)))
