"""What the settings of the private prior were chosen from, on train patients of cxr_kermany alone.

    python benchmarks/research/images_private_choice.py [--data DIR] [--quick]

Seven patients in ten play the hospital, the others judge; noise is scaled so that it is to so many patients what the
budget's is to all 2,846. Coarse images of 128 components are compared with those of the judging patients: Fréchet
distance, its part of the means, and pneumonia by a logistic regression. No network draws, so that a row takes seconds.
Where fewer components are released the others are drawn as public ones are. A mixture has a prior for each of some
cells, which are k-means of the public images, so that a patient is in one cell only and cells cost nothing; `centred`
moves them to the hospital's noisy mean first, which halves the budget of means. Exits 1 when what ships is farther from
the judging patients than 64 components with one covariance and the clipping of before, at either epsilon.
"""

import _benchmarks  # noqa: F401

# isort: split
import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import images_judges as judges
import images_peers as peers
import numpy as np
from images_private import RANK, Hospital, shared
from images_table import ENCODER, FID_UNIT, PNEUMONIA, coordinates, read
from sklearn.cluster import KMeans

from polyclinic.core.training.weights import find, load
from polyclinic.eval.metrics.structured import frechet
from polyclinic.modalities.imaging import gaussian_prior, private_training
from polyclinic.modalities.imaging.gaussian_prior import PriorSettings, fit_private, fit_public
from polyclinic.modalities.imaging.generator import ImageGenerator

SHARED, OWN = 0.0, np.inf  # edge of the noise from which on classes share a covariance
BEFORE = ("64 components, one covariance, clipped at 0.9", 64, 0.9, SHARED)
SHIPS = ("ships: 128, clipped at 0.65, own where noise allows", RANK, 0.65, gaussian_prior.CROWDED)
WAYS = (
    BEFORE,
    ("128, one covariance, 0.9", RANK, 0.9, SHARED),
    ("128, own covariances, 0.9", RANK, 0.9, OWN),
    ("128, one covariance, 0.65", RANK, 0.65, SHARED),
    ("128, own covariances, 0.65", RANK, 0.65, OWN),
    SHIPS,
)
CELLS = (2, 4)


def mixed(
    priors: Sequence[gaussian_prior.GaussianPrior], sizes: Sequence[float]
) -> gaussian_prior.GaussianPrior:
    """One prior whose classes are mixtures of the cells', by the numbers of patients that are in these."""
    share = np.concatenate([prior.share * max(1.0, size) for prior, size in zip(priors, sizes, strict=True)])
    return gaussian_prior.GaussianPrior(
        priors[0].by, tuple(value for prior in priors for value in prior.values), share / share.sum(),
        np.concatenate([prior.line for prior in priors]), np.concatenate([prior.root for prior in priors]),
    )  # fmt: skip


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="1 draw of noise in place of 3")
    options = parser.parse_args()
    generator = ImageGenerator(load(find("imaging_prior")), ENCODER.columns)
    net, space = generator.net, judges.FeatureSpace(find("imaging_features"))
    hospital = Hospital.read(options.data, np.random.default_rng(2))
    z, cut = coordinates(generator, hospital.x), len(hospital.x) * 7 // 10
    scale = net.basis.flatten(1).norm(dim=1).double().numpy()
    own, wanted = hospital.profiles[:cut], hospital.profiles[:1000]
    finding, truth = hospital.y[:1000], hospital.y[cut:]
    real = peers.direct(net, z[cut:, :RANK].astype(np.float32))
    target = space(real)

    def show(name: str, coarse: list[np.ndarray]) -> float:
        found = []
        for part in coarse:
            images = peers.direct(net, part.astype(np.float32))
            cloud = space(images)
            apart = float(((cloud.mean(0) - target.mean(0)) ** 2).sum())
            area = judges.auroc(judges.logistic(images, finding, real), truth)
            found.append((frechet(target, cloud) / FID_UNIT, apart / FID_UNIT, area))
        far, apart, area = np.mean(found, axis=0)
        print(f"{name:64}{far:9.3f}{apart:9.3f}{area:10.3f}", flush=True)
        return float(far)

    def drawn(prior: gaussian_prior.GaussianPrior, seed: int) -> np.ndarray:
        random, code = np.random.default_rng(seed), np.zeros(0, dtype=np.float32)
        coarse = random.standard_normal((len(wanted), RANK))
        coarse[:, : prior.rank] = [prior.draw(profile, code, random) for profile in wanted]
        return coarse

    print(f"{'':64}{'FID':>9}{'of means':>9}{'logistic':>10}")
    show("real coarse images", [z[:1000, :RANK]])
    code = np.zeros((cut, 0), dtype=np.float32)
    for rank in (64, RANK):
        public = fit_public(z[:cut], code, own, PriorSettings(rank=rank, by=PNEUMONIA))
        show(f"no privacy, {rank} components, own covariances", [drawn(public, 0)])
    for number in CELLS:
        public = fit_public(z[:cut], code, own, PriorSettings(rank=RANK, by=PNEUMONIA, mixture=number))
        show(f"no privacy, {RANK} components, mixtures of {number}", [drawn(public, 0)])
    public_z = coordinates(generator, read("imaging", "mednist CXR", options.data, "train")[0])
    cells = {
        number: KMeans(number, random_state=0).fit(public_z[:, :RANK] * scale[:RANK]) for number in CELLS
    }
    worst = 0
    seeds = range(1 if options.quick else 3)
    for epsilon in (10.0, 1.0):
        noise = shared(epsilon)
        pair = [noise[p] * cut / len(z) for p in (private_training.MEANS, private_training.COVARIANCES)]
        far = {}
        for name, rank, clipped, crowded in WAYS:
            gaussian_prior.CROWDED = crowded
            settings = PriorSettings(rank=rank, by=PNEUMONIA, spread_norm=clipped)
            made = [
                fit_private(z[:cut], own, settings, pair, scale, 0, np.random.default_rng(seed))
                for seed in seeds
            ]
            coarse = [drawn(prior, seed) for seed, prior in zip(seeds, made, strict=True)]
            far[name] = show(f"epsilon {epsilon:g}: {name}", coarse)
        for number, centred in product(CELLS, (False, True)):
            made, settings = [], PriorSettings(rank=RANK, by=PNEUMONIA)
            # the means of all are released before the cells, and those of cells
            twice = [pair[0] * 2**0.5, pair[1]] if centred else pair
            for seed in seeds:
                random, middle = np.random.default_rng(seed), np.zeros(RANK)
                if centred:
                    first = fit_private(z[:cut], own, settings, twice, scale, 0, random)
                    middle = (first.share[:, None] * first.line[:, :, 0]).sum(0)
                cell = cells[number].predict((z[:cut, :RANK] - middle) * scale[:RANK])
                rows = [np.flatnonzero(cell == i) for i in range(number)]
                priors = [
                    fit_private(z[r], [own[i] for i in r], settings, twice, scale, 0, random) for r in rows
                ]
                unsure = (
                    pair[0] / gaussian_prior.COUNT_WEIGHT
                )  # as the counts that are released with the sums
                made.append(mixed(priors, [len(r) + unsure * random.standard_normal() for r in rows]))
            sizes = ", ".join(str(len(r)) for r in rows)
            coarse = [drawn(prior, seed) for seed, prior in zip(seeds, made, strict=True)]
            place = ", centred" if centred else ""
            show(f"epsilon {epsilon:g}: mixture of {number} cells{place} ({sizes} patients)", coarse)
        worst |= far[SHIPS[0]] > far[BEFORE[0]]
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
