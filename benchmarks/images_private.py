"""P1 of images.py: private X-rays of cxr_kermany from the public prior of MedNIST, with peers under the same budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import images_judges as judges
import images_peers as peers
import images_private_peers as published
import numpy as np
from images_cache import Cache
from images_table import DELTA, ENCODER, FID_UNIT, KEPT, PNEUMONIA, Pixels, Table, coordinates, drawn, read
from numpy.typing import NDArray

from polyclinic import PatientProfile
from polyclinic.core.dp.budget import Budget
from polyclinic.core.training.weights import find
from polyclinic.core.training.weights import load as load_weights
from polyclinic.eval.metrics.structured import frechet
from polyclinic.modalities.imaging import histogram_matching, private_matching, private_training
from polyclinic.modalities.imaging.gaussian_prior import GaussianPrior, PriorSettings, fit_private, fit_public
from polyclinic.modalities.imaging.generator import ImageGenerator
from polyclinic.modalities.imaging.model import Denoiser, ImageTraining
from polyclinic.modalities.imaging.training import Config

RANK = 128  # of the private prior, as configs/train/imaging_private.yaml says
# Least share of a real-trained AUROC, by logistic regression and CNN; greatest FID
BARS = {"epsilon 10": (0.99, 0.98, 0.75), "epsilon 1": (0.97, 0.96, 0.95)}


@dataclass(frozen=True)
class Hospital:
    """cxr_kermany: a train image of each patient key in random order, its finding, and the test rows."""

    x: Pixels
    y: NDArray[np.bool_]
    test: Pixels
    truth: NDArray[np.bool_]

    @classmethod
    def read(cls, data: Path, random: np.random.Generator) -> "Hospital":
        """From the data folder."""
        images, owners = read("imaging_private", "cxr_kermany", data, "train")
        test, judged = read("imaging_private", "cxr_kermany", data, "test")
        order = random.permutation(len(owners))
        _, one_each = np.unique([owners[i].patient_id for i in order], return_index=True)
        chosen = random.permutation(order[one_each])
        ill = [np.array([bool(p.has(PNEUMONIA)) for p in group]) for group in (owners, judged)]
        return cls(images[chosen], ill[0][chosen], test, ill[1])

    @property
    def profiles(self) -> list[PatientProfile]:
        """Of each train image."""
        return [PatientProfile(str(i), conditions={PNEUMONIA: bool(ill)}) for i, ill in enumerate(self.y)]


SETTINGS = Config(prior=PriorSettings(rank=RANK, by=PNEUMONIA), histogram_matching=True)


def shared(epsilon: float) -> dict[str, float]:
    """Noise multipliers of what `train imaging` releases under that budget."""
    return private_training.releases(SETTINGS, ImageTraining(steps=0), Budget(epsilon, DELTA), checked=0.0)


@dataclass(frozen=True)
class Ours:
    """The private model of a hospital, as `train imaging` fits it."""

    hospital: Hospital
    generator: ImageGenerator  # of the public prior
    z: NDArray[np.float64]  # coordinates of the train images
    seed: int

    def prior(self, epsilon: float | None, rank: int = RANK) -> GaussianPrior:
        """Without privacy where epsilon is None."""
        settings = PriorSettings(rank=rank, by=PNEUMONIA)
        if epsilon is None:
            code = np.zeros((len(self.z), 0), dtype=np.float32)
            return fit_public(self.z, code, self.hospital.profiles, settings)
        noise = shared(epsilon)
        pair = noise[private_training.MEANS], noise[private_training.COVARIANCES]
        scale = self.generator.net.basis.flatten(1).norm(dim=1).double().numpy()
        random = np.random.default_rng(self.seed)
        return fit_private(self.z, self.hospital.profiles, settings, pair, scale, 0, random)

    def images(self, epsilon: float | None, wanted: Sequence[PatientProfile]) -> Pixels:
        """Drawn by prior, flow and maps."""
        self.generator.prior, self.generator.matching = self.prior(epsilon), None
        blank = [PatientProfile(str(i)) for i in range(private_training.DRAWS)]
        draws = drawn(self.generator, blank, self.seed + 1000)[:, None].astype(np.float64)
        real = self.hospital.x[:, None].astype(np.float64)
        if epsilon is None:
            self.generator.matching = histogram_matching.fit(draws, real)
        else:
            noise, random = shared(epsilon)[private_matching.PURPOSE], np.random.default_rng(self.seed + 1)
            with TemporaryDirectory() as folder:
                path = Path(folder) / "maps.json"
                self.generator.matching = private_matching.fit_private(
                    draws, real, noise, path, False, random
                )
        return drawn(self.generator, wanted, self.seed)

    def direct(self, epsilon: float, wanted: Sequence[PatientProfile]) -> Pixels:
        """Coarse images of the private prior of 64 components, with nothing drawn on them."""
        prior, random = self.prior(epsilon, KEPT), np.random.default_rng(self.seed)
        code = np.zeros(0, dtype=np.float32)
        return peers.direct(self.generator.net, np.stack([prior.draw(p, code, random) for p in wanted]))


class Judges:
    """Real images' figures, and rows of what is drawn."""

    def __init__(self, table: Table, cache: Cache, hospital: Hospital, size: int, seed: int) -> None:
        self.table, self.cache, self.hospital, self.seed = table, cache, hospital, seed
        self.space = judges.FeatureSpace(find("imaging_features"))
        self.target = self.space(hospital.test)
        self.real = cache("imaging_prior", lambda: self.judged(hospital.x[:size]), "P1 real", size, seed)

    def judged(self, pixels: Pixels) -> NDArray[np.float32]:
        """(4, test image): scores of a logistic regression and two CNNs trained on pixels, and FID, all alike."""
        test, wanted = self.hospital.test, self.hospital.y[: len(pixels)]
        nets = [judges.convolutional(pixels, wanted, test, k) for k in (0, 1)]
        far = np.full(len(test), frechet(self.target, self.space(pixels)) / FID_UNIT)
        return np.stack([judges.logistic(pixels, wanted, test), *nets, far]).astype(np.float32)

    def of(
        self,
        name: str,
        make: Callable[[], Pixels],
        *what: object,
        bars: tuple[float, float, float] | None = None,
    ) -> None:
        """Rows of a way to draw images; `what` they follow from beside its name."""
        found = self.cache("imaging_prior", lambda: self.judged(make()), "P1", name, *what, self.seed)
        self.row(name, found, bars)

    def row(
        self, name: str, found: NDArray[np.float32], bars: tuple[float, float, float] | None = None
    ) -> None:
        """Three rows of judged(): AUROC of both kinds of classifiers, with the interval of its ratio to real, FID."""
        truth = self.hospital.truth
        for i, (kind, rows) in enumerate((("logistic regression", slice(1)), ("CNN", slice(1, 3)))):
            own, real = (judges.mean_auroc(part[rows], truth) for part in (found, self.real))
            low, high = judges.ratio_interval(found[rows], self.real[rows], truth)
            self.table.add(
                f"{name}: pneumonia by {kind}, AUROC", own, real, None if bars is None else bars[i] * real,
                interval=(low * real, high * real),
            )  # fmt: skip
        far, floor = float(found[3, 0]), float(self.real[3, 0])
        self.table.add(f"{name}: FID", far, floor, most=None if bars is None else bars[2])


def p1(table: Table, data: Path, quick: bool, seed: int, cache: Cache) -> None:
    """Public MedNIST, private cxr_kermany."""
    prior = load_weights(find("imaging_prior"))
    generator = ImageGenerator(prior, ENCODER.columns)
    hospital = Hospital.read(data, np.random.default_rng(seed))
    size = 1000 if quick else len(hospital.x)
    wanted, finding = hospital.profiles[:size], hospital.y[:size]
    table.head(f"P1, private X-rays of {len(hospital.x)} patients (cxr_kermany), {size} drawn, seed {seed}")
    judged = Judges(table, cache, hospital, size, seed)
    z = coordinates(generator, hospital.x)
    ours = Ours(hospital, generator, z, seed)
    for name, epsilon in (("epsilon 10", 10.0), ("epsilon 1", 1.0)):
        judged.of(f"ours, {name}", partial(ours.images, epsilon, wanted), size, bars=BARS[name])
    judged.of("ours, no privacy", partial(ours.images, None, wanted), size)
    net, x, y = generator.net, hospital.x, hospital.y
    evolved = partial(published.private_evolution, generator, judged.space, data, x, y, finding)
    for epsilon in (10.0, 1.0):
        budget = Budget(epsilon, DELTA)
        embedded = partial(peers.mean_embedding, z, y, finding, budget, KEPT, seed)
        plain = partial(peers.mean_plus_noise, net, z, y, finding, budget, KEPT, seed)
        for name, make in (
            ("moments sampled directly", partial(ours.direct, epsilon, wanted)),
            ("DP-MERF in the same components", partial(merf, net, embedded)),
            ("class mean plus noise", plain),
            ("private evolution", partial(evolved, budget, seed)),
        ):
            judged.of(f"{name}, epsilon {epsilon:g}", make, size)
    some, budget = finding[: 300 if quick else size], Budget(10.0, DELTA)
    steps, batch, warm = (8, 64, 100) if quick else (60, 256, 1000)
    sgd = partial(peers.dp_sgd, x, y, some, budget, steps, batch, seed)
    first = partial(published.mean_images_first, x, y, some, budget, steps, batch, seed, warm)
    for name, make in (
        ("DP-SGD without a prior", partial(sgd, None)),
        ("DP-SGD of the modulation from the prior", partial(sgd, prior, "modulation")),
        ("mean images, then DP-SGD (DP-FETA)", first),
    ):
        judged.of(f"{name}, {steps} steps of {batch}, epsilon 10", make, warm, len(some))


def merf(net: Denoiser, embedded: Callable[[], NDArray[np.float32]]) -> Pixels:
    """Coarse images of a mean embedding."""
    return peers.direct(net, embedded())
