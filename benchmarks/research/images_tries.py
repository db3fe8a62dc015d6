"""Ways to steer the shipped X-ray model, tried on train rows alone: what the generator's constants were chosen from.

    python benchmarks/research/images_tries.py [--data DIR] [--quick] [--only priors|steering|likeness|matching]

Steering: cxr_nih's train patients are cut in two; the prior is fitted on one half, and X-rays with its profiles are
drawn. A CNN learns from them and is judged on the other half's images (taught), and a CNN that learnt from the other
half's images is judged on them (read off); both ways round, means of the two. The flow itself has seen both
halves, which favours no try over another. Likeness: X-rays of the public prior against MedNIST's train rows; the
first 1,000 judge, and the prior is fitted on the others. Priors: the same two comparisons by the coarse images alone,
with nothing drawn on them and a logistic regression on their components, which takes a minute. Matching: histogram
matching is fitted on one half of cxr_nih's train patients; a forest that learnt on them separates drawn images from
the other half's. --quick draws only plainly and as shipped. Exits 1 when what ships reads off less than the plain
way, or teaches 0.02 less.
"""

import _benchmarks  # noqa: F401

# isort: split
import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import images_judges as judges
import images_peers as peers
import numpy as np
from images_table import ENCODER, FID_UNIT, SIDE, Pixels, coordinates, read, shrunk
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from polyclinic import Batch, PatientProfile, Record, seed_for
from polyclinic.core.condition import select
from polyclinic.core.training.weights import find, load, read_card
from polyclinic.eval.metrics.structured import frechet, prdc
from polyclinic.modalities.imaging import prior_critic
from polyclinic.modalities.imaging.gaussian_prior import PriorSettings, fit_public
from polyclinic.modalities.imaging.generator import EMPHASIS, GUIDANCE, STEPS, ImageGenerator
from polyclinic.modalities.imaging.histogram_matching import HistogramMatching, fit
from polyclinic.modalities.imaging.metrics import features
from polyclinic.modalities.imaging.model import Denoiser
from polyclinic.modalities.imaging.private_training import coarse_images
from polyclinic.modalities.imaging.sampler import draw

STEERED = tuple(read_card(find("imaging")).columns)
LABELS: dict[str, Callable[[PatientProfile], bool]] = {
    "sex": lambda p: p.sex == "F",
    "view": lambda p: p.traits.get("chest_view") == "AP",
}


@dataclass(frozen=True)
class Try:
    """How X-rays are drawn; the defaults are those that ship."""

    name: str
    guidance: float = 1.0
    steps: int = 8
    kept: int = 64
    by: str | None = None
    mixture: int = 1
    temperature: float = 1.0
    sex: float = 1.0  # factor of its part in the prior's regression
    view: float = 1.0
    network: float = 1.0  # factor of both in what the network is told
    spread: float = 1.0
    draws: int = 1  # films of each profile
    critic: bool = False  # chooses among draws of the prior
    real: bool = False  # coarse pictures of held-back films in place of a prior's

    @property
    def prior(self) -> PriorSettings:
        """What the prior is fitted by."""
        return PriorSettings(
            rank=self.kept, by=self.by, mixture=self.mixture, temperature=self.temperature, critic=self.critic
        )


PLAIN = Try("plain")
SHIPPED = Try(
    f"ships: sex x {EMPHASIS['sex']:g}, view x {EMPHASIS['chest_view']:g}, temperature 0.9",
    GUIDANCE, STEPS, sex=EMPHASIS["sex"], view=EMPHASIS["chest_view"], temperature=0.9,
)  # fmt: skip
STEERING = (
    Try("temperature 1", sex=1.5, view=1.5),
    Try("two films a profile", sex=1.5, view=1.5, temperature=0.9, draws=2),
    Try("prior by sex, view times 2", by="sex", view=2.0),
    Try("prior's sex and view times 2", sex=2.0, view=2.0),
    Try("prior's sex times 1.5, view times 2.5", sex=1.5, view=2.5),
    Try("the same, network's sex and view times 2", sex=1.5, view=2.5, network=2.0),
    Try("prior of 128 components", kept=128),
    Try("prior with a covariance for each sex", by="sex"),
    Try("12 steps", steps=12),
    Try("guidance 1.5, twice the network calls", guidance=1.5),
    Try("guidance 2, twice the network calls", guidance=2.0),
    Try("guidance 3, twice the network calls", guidance=3.0),
)
FREE = Try("as shipped: mixture of 16, temperature 0.9", mixture=16, temperature=0.9)
CHOSEN = (
    Try("mixture of 16, temperature 0.9, critic", mixture=16, temperature=0.9, critic=True),
    Try("mixture of 16, critic: ships", mixture=16, critic=True),
)
COOLER = tuple(Try(f"mixture of 16, temperature {t}", mixture=16, temperature=t) for t in (0.9, 0.85, 0.8))
STEERED_LAWS = (
    Try("sex and view times 1.5, temperature 1", sex=1.5, view=1.5),
    Try("prior by sex", by="sex"),
    Try("prior by sex, view times 1.5", by="sex", view=1.5),
    Try("prior by view", by="chest_view"),
    Try("prior by view, sex times 1.5", by="chest_view", sex=1.5),
)
LIKENESS = (
    Try("coarse pictures of real films", real=True),
    Try("12 steps", steps=12),
    Try("start narrowed to 0.97", spread=0.97),
)


def halves(profiles: Sequence[PatientProfile]) -> NDArray[np.bool_]:
    """(row,) which half of the patients each row is of."""
    patients = sorted({p.patient_id for p in profiles})
    order = np.random.default_rng(0).permutation(len(patients))
    first = {patients[i] for i in order[: len(patients) // 2]}
    return np.array([p.patient_id in first for p in profiles])


def coarse_of(
    how: Try, z: NDArray[np.float64], code: NDArray[np.float32], own: Sequence[PatientProfile], count: int,
    net: Denoiser | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """(count, kept) coarse pictures: of each of these profiles, then of each again, by the prior of their films z.

    A critic judges pictures of the net's components.
    """
    prior = fit_public(z, code, own, how.prior)
    if how.critic:
        assert net is not None
        prior = prior.chosen_by(prior_critic.train(prior, z, code, own, 0, partial(coarse_images, net))[0])
    factor = {"sex": how.sex, "chest_view": how.view}
    columns = STEERED if code.shape[1] else ()
    stressed = code * np.array([factor.get(c.split("=")[0], 1.0) for c in columns], dtype=np.float32)
    random = [np.random.default_rng(seed_for(0, f"{i}", "tries")) for i in range(count)]
    n = len(own)
    return np.stack([prior.draw(own[i % n], stressed[i % n], random[i]) for i in range(count)])


def steered(how: Try, generator: ImageGenerator, x: Pixels, own: Sequence[PatientProfile]) -> Pixels:
    """X-rays with the profile of each of these films, all once, then all again; the prior is that of these films."""
    code = coded(own)
    coarse = coarse_of(how, coordinates(generator, x), code, own, len(own) * how.draws)
    told = code * np.array([how.network if "=" in c else 1.0 for c in STEERED], dtype=np.float32)
    seeds = [seed_for(0, f"{i}", "tries") for i in range(len(coarse))]
    told = np.tile(told, (how.draws, 1))
    images = draw(generator.net, told, seeds, generator.shape, coarse, how.steps, how.guidance, how.spread)
    return (shrunk(images[:, 0], SIDE) + 1) / 2


def priors(data: Path) -> None:
    """Two tables, of the one that ships as the prior and the steered one, by coarse pictures alone."""
    space = judges.FeatureSpace(find("imaging_features"))
    prior, generator = (ImageGenerator(load(find(n)), ENCODER.columns) for n in ("imaging_prior", "imaging"))
    films, _ = read("imaging", "mednist CXR", data, "train")
    z = coordinates(prior, films[np.random.default_rng(0).permutation(len(films))])[:, :64]
    blank = [PatientProfile(str(i)) for i in range(len(z) - 1000)]
    none = np.zeros((len(blank), 0), dtype=np.float32)

    def pictures(coarse: NDArray[np.floating]) -> Pixels:
        return peers.direct(prior.net, coarse.astype(np.float32))

    real = pictures(z[:1000])
    target, natural = space(real), judges.ms_ssim(real, 1000, 0)
    heads = "".join(f"{name:>11}" for name in ("FID", "precision", "recall", "MS-SSIM"))
    print(f"\n{'Coarse pictures, free, train rows':50}{heads}", flush=True)
    for how in (None, *(Try(f"mixture of {n}", mixture=n) for n in (1, 8, 16, 32)), *COOLER, *CHOSEN):
        drawn = z[1000:2000] if how is None else coarse_of(how, z[1000:], none, blank, 1000, prior.net)
        images = pictures(drawn)
        cloud, alike = space(images), judges.ms_ssim(images, 1000, 0) / natural
        held = prdc(target, cloud)
        name = "real films" if how is None else how.name
        far = frechet(target, cloud) / FID_UNIT
        print(f"{name:50}{far:11.3f}{held.precision:11.3f}{held.recall:11.3f}{alike:11.3f}", flush=True)

    x, owners = read("imaging", "cxr_nih", data, "train")
    z, half = coordinates(generator, x)[:, :64], halves(owners)
    labels = [np.array([label(p) for p in owners]) for label in LABELS.values()]
    heads = "".join(f"{name + ' ' + what:>15}" for name in LABELS for what in ("taught", "read off"))
    print(f"\n{'Coarse pictures, steered, train rows':50}{heads}{'FID':>9}{'precision':>11}{'recall':>9}")
    for how in (None, PLAIN, SHIPPED, *STEERED_LAWS):
        rows = []
        for own, other in (
            (np.flatnonzero(half), np.flatnonzero(~half)),
            (np.flatnonzero(~half), np.flatnonzero(half)),
        ):
            people = [owners[i] for i in own]
            drawn = z[own] if how is None else coarse_of(how, z[own], coded(people), people, len(own) * 2)
            figures = []
            for y in labels:
                asked = np.tile(y[own], len(drawn) // len(own))
                figures += [
                    linear(drawn, asked, z[other], y[other]),
                    linear(z[other], y[other], drawn, asked),
                ]
            there, here = space(pictures(z[other])), space(pictures(drawn[: len(own)]))
            held = prdc(there, here)
            rows.append([*figures, frechet(there, here) / FID_UNIT, held.precision, held.recall])
        *areas, far, precision, recall = np.mean(rows, axis=0)
        name = "real films" if how is None else how.name
        print(
            f"{name:50}{''.join(f'{v:15.3f}' for v in areas)}{far:9.3f}{precision:11.3f}{recall:9.3f}",
            flush=True,
        )


def linear(
    x: NDArray[np.floating], y: NDArray[np.bool_], on: NDArray[np.floating], truth: NDArray[np.bool_]
) -> float:
    """AUROC of a logistic regression on components."""
    model = LogisticRegression(C=0.05, max_iter=500).fit(x, y)
    return judges.auroc(model.decision_function(on), truth)


def coded(own: Sequence[PatientProfile]) -> NDArray[np.float32]:
    """(row, column) as the steered weights want it."""
    return select(ENCODER.encode(own), ENCODER.columns, STEERED)


def steering(data: Path, tries: Sequence[Try]) -> bool:
    """The table of tries; whether the second reads off no less than the first, and teaches 0.02 less at most."""
    generator = ImageGenerator(load(find("imaging")), ENCODER.columns)
    space = judges.FeatureSpace(find("imaging_features"))
    x, owners = read("imaging", "cxr_nih", data, "train")
    half = halves(owners)
    folds = []
    for rows in (np.flatnonzero(half), np.flatnonzero(~half)):
        own = [owners[i] for i in rows]
        folds.append(
            (x[rows], own, {name: np.array([label(p) for p in own]) for name, label in LABELS.items()})
        )

    def area(learn: Pixels, y: NDArray[np.bool_], on: Pixels, truth: NDArray[np.bool_]) -> float:
        return judges.auroc(judges.convolutional(learn, y, on, 0, 16), truth)

    heads = "".join(f"{name + ' ' + what:>15}" for name in LABELS for what in ("taught", "read off"))
    print(f"\n{'Steering, train rows':50}{heads}{'FID':>9}", flush=True)
    rows = []
    for how in (None, *tries):
        found, far = [], []
        for (films, own, labels), (others, _, theirs) in (folds, folds[::-1]):
            drawn = films if how is None else steered(how, generator, films, own)
            often = 1 if how is None else how.draws
            found.append(
                [
                    figure
                    for name in LABELS
                    for figure in (
                        area(drawn, np.tile(labels[name], often), others, theirs[name]),
                        area(others, theirs[name], drawn, np.tile(labels[name], often)),
                    )
                ]
            )
            far.append(frechet(space(others), space(drawn)) / FID_UNIT)
        row = np.mean(found, axis=0)
        print(
            f"{'real films' if how is None else how.name:50}{''.join(f'{v:15.3f}' for v in row)}{np.mean(far):9.3f}",
            flush=True,
        )
        rows.append(row)
    gain = rows[2] - rows[1]
    return bool(gain[1::2].min() >= 0 and gain[::2].min() >= -0.02)


def likeness(data: Path, tries: Sequence[Try]) -> None:
    """The table of tries."""
    generator = ImageGenerator(load(find("imaging_prior")), ENCODER.columns)
    space = judges.FeatureSpace(find("imaging_features"))
    films, _ = read("imaging", "mednist CXR", data, "train")
    films = films[np.random.default_rng(0).permutation(len(films))]
    z = coordinates(generator, films[1000:])
    blank = [PatientProfile(str(i)) for i in range(len(z))]
    none = np.zeros((len(z), 0), dtype=np.float32)
    target = space(films[:1000])
    natural = judges.ms_ssim(films[:1000], 1000, 0)
    seeds = [seed_for(0, f"{i}", "tries") for i in range(1000)]
    code = np.zeros((1000, len(generator.card.columns)), dtype=np.float32)
    print(f"\n{'Likeness, train rows':50}{'FID':>9}{'precision':>11}{'recall':>9}{'MS-SSIM':>9}", flush=True)
    for how in (None, *tries):
        if how is None:
            drawn = films[1000:2000]
        else:
            coarse = None if how.mixture == 1 else coarse_of(how, z, none, blank, 1000)
            coarse = z[:1000, : how.kept].astype(np.float32) if how.real else coarse
            images = draw(generator.net, code, seeds, generator.shape, coarse, how.steps, 1.0, how.spread)
            drawn = (images[:, 0] + 1) / 2
        held = prdc(target, space(drawn))
        alike = judges.ms_ssim(drawn, 1000, 0) / natural
        print(
            f"{'real films' if how is None else how.name:50}{frechet(target, space(drawn)) / FID_UNIT:9.3f}"
            f"{held.precision:11.3f}{held.recall:9.3f}{alike:9.3f}",
            flush=True,
        )


def matching(data: Path) -> None:
    """Drawn films beside held-back ones, as they are, with the one map, the other, and both; halves both ways round."""
    generator = ImageGenerator(load(find("imaging")), ENCODER.columns)
    generator.matching = None
    space = judges.FeatureSpace(find("imaging_features"))
    x, owners = read("imaging", "cxr_nih", data, "train")
    half = halves(owners)
    batches = [range(i, min(i + 64, len(owners))) for i in range(0, len(owners), 64)]
    drawn = np.concatenate([generator.draw(_batch([owners[i] for i in rows], rows)) for rows in batches])
    films = (shrunk(drawn[:, 0], SIDE).astype(np.float64) + 1) / 2
    looks: dict[str, Callable[[HistogramMatching], Callable[[Pixels], Pixels]]] = {
        "as drawn": lambda look: lambda film: film,
        "sharpness alone": lambda look: lambda film: look.sharpened(film[None])[0],
        "sharpness and greys: ships": lambda look: lambda film: look(film[None])[0],
    }
    print(
        f"\n{'Histogram matching, train rows':50}{'C2ST':>11}{'FID':>9}{'precision':>11}{'recall':>9}",
        flush=True,
    )

    def near(here: Pixels, there: Pixels) -> list[float]:
        cloud, target = space(here.astype(np.float32)), space(there)
        held = prdc(target, cloud)
        return [frechet(target, cloud) / FID_UNIT, held.precision, held.recall]

    fitted = [(own, fit(films[own][:, None], x[own][:, None].astype(np.float64))) for own in (half, ~half)]
    for name, look in ({"real films": None} | looks).items():
        rows = []
        for own, maps in fitted:
            if look is None:
                rows.append([0.5, *near(x[own], x[~own])])
                continue
            way = look(maps)
            ours = np.stack([way(film) for film in films]).clip(0, 1)
            rows.append([_told(x[own], ours[own], x[~own], ours[~own]), *near(ours[~own], x[~own])])
        told, far, precision, recall = np.mean(rows, axis=0)
        print(f"{name:50}{told:11.3f}{far:9.3f}{precision:11.3f}{recall:9.3f}", flush=True)


def _batch(own: Sequence[PatientProfile], rows: range) -> Batch:
    return Batch(tuple(own), ENCODER.encode(own), tuple(seed_for(0, f"{i}", "tries") for i in rows))


def _told(real: Pixels, drawn: Pixels, real_there: Pixels, drawn_there: Pixels) -> float:
    """AUROC of a forest on the features that evaluate has."""
    tables = [
        features([Record({"image": np.rint(film * 4095).astype(np.uint16)}, {}) for film in some]).to_numpy()
        for some in (real, drawn, real_there, drawn_there)
    ]
    forest = RandomForestClassifier(300, min_samples_leaf=2, random_state=0, n_jobs=1)
    forest.fit(np.concatenate(tables[:2]), np.repeat([False, True], [len(real), len(drawn)]))
    scores = forest.predict_proba(np.concatenate(tables[2:]))[:, 1]
    return judges.auroc(scores, np.repeat([False, True], [len(real_there), len(drawn_there)]))


def main() -> int:
    """Print the tables; 0 if what ships is no worse than the plain way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="plainly and as shipped only")
    parser.add_argument("--only", choices=["priors", "steering", "likeness", "matching"])
    options = parser.parse_args()
    good = True
    if options.only in (None, "priors"):
        priors(options.data)
    if options.only in (None, "matching"):
        matching(options.data)
    if options.only in (None, "steering"):
        good = steering(options.data, (PLAIN, SHIPPED, *(() if options.quick else STEERING)))
    if options.only in (None, "likeness"):
        likeness(options.data, (PLAIN, FREE, *(() if options.quick else LIKENESS)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
