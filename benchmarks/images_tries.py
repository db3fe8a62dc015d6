"""Ways to steer the shipped X-ray model, tried on train rows alone: what the generator's constants were chosen from.

    python benchmarks/images_tries.py [--data DIR] [--quick] [--only steering|likeness]

Steering: cxr_nih's train patients are cut in two; the law is fitted on one half and X-rays with its profiles are drawn.
A CNN learns from them and is judged on the other half's films (taught), and a CNN that learnt from the other
half's films is judged on them (read off); both ways round, means of the two. The flow itself has seen both
halves, which favours no try over another. Likeness: X-rays of the prior against MedNIST's train rows. --quick
draws only plainly and as shipped. Exits 1 when what ships reads off less than the plain way, or teaches 0.02 less.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import images_judges as judges
import numpy as np
from images import ENCODER, FID_UNIT, Pixels, coordinates, read
from numpy.typing import NDArray

from polyclinic import PatientProfile, seed_for
from polyclinic.core.condition import select
from polyclinic.core.weights import find, load
from polyclinic.eval.manifold import frechet, overlap
from polyclinic.modalities.imaging.coarse import LawSettings, fit_public
from polyclinic.modalities.imaging.generator import EMPHASIS, GUIDANCE, STEPS, ImageGenerator
from polyclinic.modalities.imaging.model import draw

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
    sex: float = 1.0  # factor of its part in the law's regression
    view: float = 1.0
    network: float = 1.0  # factor of both in what the network is told
    spread: float = 1.0


PLAIN = Try("plain")
SHIPPED = Try(
    f"as shipped: law's sex x {EMPHASIS['sex']:g}, view x {EMPHASIS['chest_view']:g}",
    GUIDANCE, STEPS, sex=EMPHASIS["sex"], view=EMPHASIS["chest_view"],
)  # fmt: skip
STEERING = (
    Try("law's sex and view times 2", sex=2.0, view=2.0),
    Try("law's sex times 1.5, view times 2.5", sex=1.5, view=2.5),
    Try("the same, network's sex and view times 2", sex=1.5, view=2.5, network=2.0),
    Try("law of 128 components", kept=128),
    Try("law with a covariance for each sex", by="sex"),
    Try("12 steps", steps=12),
    Try("guidance 1.5, twice the network calls", guidance=1.5),
    Try("guidance 2, twice the network calls", guidance=2.0),
    Try("guidance 3, twice the network calls", guidance=3.0),
)
LIKENESS = (Try("12 steps", steps=12), Try("start narrowed to 0.97", spread=0.97))


def halves(profiles: Sequence[PatientProfile]) -> NDArray[np.bool_]:
    """(row,) which half of the patients each row is of."""
    patients = sorted({p.patient_id for p in profiles})
    order = np.random.default_rng(0).permutation(len(patients))
    first = {patients[i] for i in order[: len(patients) // 2]}
    return np.array([p.patient_id in first for p in profiles])


def steered(how: Try, generator: ImageGenerator, x: Pixels, own: Sequence[PatientProfile]) -> Pixels:
    """An X-ray with the profile of each of these films, the law being that of these films."""
    columns = generator.card.columns
    code = select(ENCODER.encode(own), ENCODER.columns, columns)
    law = fit_public(coordinates(generator, x), code, own, LawSettings(kept=how.kept, by=how.by))
    factor = {"sex": how.sex, "chest_view": how.view}
    stressed = code * np.array([factor.get(c.split("=")[0], 1.0) for c in columns], dtype=np.float32)
    told = code * np.array([how.network if "=" in c else 1.0 for c in columns], dtype=np.float32)
    seeds = [seed_for(0, f"{i}", "tries") for i in range(len(own))]
    coarse = np.stack(
        [
            law.draw(profile, row, np.random.default_rng(seed))
            for profile, row, seed in zip(own, stressed, seeds, strict=True)
        ]
    )
    images = draw(generator.net, told, seeds, generator.shape, coarse, how.steps, how.guidance, how.spread)
    return (images[:, 0] + 1) / 2


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
            found.append(
                [
                    figure
                    for name in LABELS
                    for figure in (
                        area(drawn, labels[name], others, theirs[name]),
                        area(others, theirs[name], drawn, labels[name]),
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
    films = films[np.random.default_rng(0).permutation(len(films))[:2000]]
    target = space(films[:1000])
    natural = judges.likeness(films[:1000], 1000, 0)
    seeds = [seed_for(0, f"{i}", "tries") for i in range(1000)]
    code = np.zeros((1000, len(generator.card.columns)), dtype=np.float32)
    print(f"\n{'Likeness, train rows':50}{'FID':>9}{'precision':>11}{'recall':>9}{'MS-SSIM':>9}", flush=True)
    for how in (None, *tries):
        if how is None:
            drawn = films[1000:]
        else:
            drawn = (
                draw(generator.net, code, seeds, generator.shape, None, how.steps, 1.0, how.spread)[:, 0] + 1
            ) / 2
        held = overlap(target, space(drawn))
        alike = judges.likeness(drawn, 1000, 0) / natural
        print(
            f"{'real films' if how is None else how.name:50}{frechet(target, space(drawn)) / FID_UNIT:9.3f}"
            f"{held.precision:11.3f}{held.recall:9.3f}{alike:9.3f}",
            flush=True,
        )


def main() -> int:
    """Print the tables; 0 if what ships is no worse than the plain way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="plainly and as shipped only")
    parser.add_argument("--only", choices=["steering", "likeness"])
    options = parser.parse_args()
    good = True
    if options.only in (None, "steering"):
        good = steering(options.data, (PLAIN, SHIPPED, *(() if options.quick else STEERING)))
    if options.only in (None, "likeness"):
        likeness(options.data, (PLAIN, *(() if options.quick else LIKENESS)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
