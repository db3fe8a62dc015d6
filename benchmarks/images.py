"""Images: private and steered X-rays against real ones, with peers, floors and bars.

    python benchmarks/images.py [--data DIR] [--quick] [--seeds 0 1] [--only p1|p2|free|use|skin|speed|clipping]

P1, private: public data are MedNIST, private data cxr_kermany's train rows at 64 px, one image a patient key,
condition the finding. P2, steered: the shipped weights against cxr_nih's test rows, and images of the prior, of
which nothing is asked, against MedNIST's (free: these alone). All figures are against test rows; floors are
train rows of the same kind and number in place of synthetic images. Use: what X-rays of the weights in force are good
for, and what gives them away (images_use.py). Skin: dermoscopic photographs of the shipped weights against isic2017's
test rows (images_skin.py).
"""

import argparse
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import clipping
import images_judges as judges
import numpy as np
from images_cache import Cache
from images_private import p1
from images_skin import skin
from images_table import ENCODER, FID_UNIT, KID_UNIT, Pixels, Table, drawn, read
from images_use import use
from numpy.typing import NDArray
from throughput_builds import Build, alternated, built, present

from polyclinic import Batch, PatientProfile, load_modality
from polyclinic.core.training.weights import find
from polyclinic.core.training.weights import load as load_weights
from polyclinic.eval.metrics.structured import frechet, kernel_distance, prdc
from polyclinic.modalities.imaging.generator import ImageGenerator

OLD, FASTER = "6d7c809", 3.0
# Images a second of processor time, in names that both builds have
RATE = """
import sys, time, torch
torch.set_num_threads(1)
from polyclinic import Batch, PatientProfile, ProfileEncoder, load_modality
encoder = ProfileEncoder()
generator = load_modality("imaging").generator(encoder.columns)
own = tuple(PatientProfile(str(i), age=60.0, sex="F") for i in range(16))
batch = Batch(own, encoder.encode(own), tuple(range(16)))
generator.sample(batch)
began, done = time.process_time(), 0
while time.process_time() - began < float(sys.argv[1]):
    done += len(generator.sample(batch))
print(done / (time.process_time() - began))
"""
IMAGES = 2  # drawn of each profile that steers them
EPOCHS, PROBES = 12, (0, 1)
LABELS = {
    "sex": (lambda p: p.sex == "F", 0.81, 0.90),
    "AP view": (lambda p: p.traits.get("chest_view") == "AP", 0.98, 0.97),
    "any finding": (lambda p: any(p.conditions.values()), 0.57, None),
}


def steered(table: Table, data: Path, quick: bool, seed: int, cache: Cache) -> None:
    """P2 of the shipped, steered weights."""
    generator = ImageGenerator(load_weights(find("imaging")), ENCODER.columns)
    space = judges.FeatureSpace(find("imaging_features"))
    train, owners = read("imaging", "cxr_nih", data, "train")
    test, judged = read("imaging", "cxr_nih", data, "test")
    synthetic = cache("imaging", lambda: drawn(generator, owners * IMAGES, seed), "P2 steered", IMAGES, seed)
    table.head(
        f"P2, {IMAGES} steered X-rays of each profile of cxr_nih's {len(owners)} train rows, seed {seed}"
    )
    for name, (label, tstr_bar, recovery_bar) in LABELS.items():
        y, truth = (np.array([label(p) for p in group]) for group in (owners, judged))
        asked, both = np.tile(y, IMAGES), np.concatenate([test, synthetic])
        probe = np.stack(
            [
                judges.scores(
                    cache.of_real(partial(judges.learnt, train, y, k, EPOCHS), "cxr_nih", name, k, EPOCHS),
                    both,
                )
                for k in PROBES
            ]
        )
        real = judges.mean_auroc(probe[:, : len(test)], truth)
        own = cache("imaging", partial(probes, synthetic, asked, test), "P2 own", name, IMAGES, seed)
        table.add(
            f"train on synthetic, test on real: {name}, AUROC", judges.mean_auroc(own, truth), real, tstr_bar
        )
        found = judges.mean_auroc(probe[:, len(test) :], asked)
        table.add(f"probe trained on real finds it in synthetic: {name}, AUROC", found, real, recovery_bar)
    known = [np.array([p.age for p in group], dtype=float) for group in (owners, judged)]
    for_real = np.corrcoef(judges.age_probe(train, known[0], test, space), known[1])[0, 1]
    for_drawn = np.corrcoef(judges.age_probe(train, known[0], synthetic, space), np.tile(known[0], IMAGES))[
        0, 1
    ]
    table.add(
        "probe trained on real finds age in synthetic, correlation", for_drawn, for_real, 0.6 * for_real
    )
    table.add(
        f"FID of {len(owners)} steered X-rays against cxr_nih test",
        frechet(space(test), space(synthetic[: len(owners)])) / FID_UNIT,
        frechet(space(test), space(train)) / FID_UNIT,
    )

    copies(table, synthetic, data)


def probes(x: Pixels, y: NDArray[np.bool_], on: Pixels) -> NDArray[np.float64]:
    """(probe, image) scores of small CNNs."""
    return np.stack([judges.convolutional(x, y, on, seed, EPOCHS) for seed in PROBES])


def free(table: Table, data: Path, quick: bool, seed: int, cache: Cache) -> None:
    """P2 of X-rays of which nothing is asked."""
    space = judges.FeatureSpace(find("imaging_features"))
    mednist_images, _ = read("imaging", "mednist CXR", data, "test")
    others, _ = read("imaging", "mednist CXR", data, "train")
    size = 1000 if quick else len(mednist_images)
    generator = ImageGenerator(load_weights(find("imaging_prior")), ENCODER.columns)
    blank = [PatientProfile(str(i)) for i in range(size)]
    images = cache("imaging_prior", lambda: drawn(generator, blank, seed), "P2 free", size, seed)
    table.head(f"P2, {size} unconditional X-rays of the prior against MedNIST test rows, seed {seed}")
    target, ours, theirs = space(mednist_images), space(images), space(others[:size])
    spread, floor = prdc(target, ours), prdc(target, theirs)
    table.add("FID", frechet(target, ours) / FID_UNIT, frechet(target, theirs) / FID_UNIT, most=0.6)
    table.add(
        "KID", kernel_distance(target, ours) / KID_UNIT, kernel_distance(target, theirs) / KID_UNIT, most=0.03
    )
    for name, least in (("precision", 0.85), ("recall", 0.80), ("density", None), ("coverage", None)):
        table.add(name, getattr(spread, name), getattr(floor, name), least)
    alike, natural = judges.ms_ssim(images, 1000, seed), judges.ms_ssim(mednist_images, 1000, seed)
    table.add("MS-SSIM between two of them, over that between two real ones", alike / natural, 1.0, most=1.10)
    copies(table, images, data)


def copies(table: Table, images: Pixels, data: Path) -> None:
    """How many are a training image, whatever its contrast."""
    sets = (("imaging", "mednist CXR"), ("imaging", "cxr_nih"), ("imaging", "cxr_kermany"))
    originals = np.concatenate([read(*one, data, "train")[0] for one in sets])
    near = judges.nearest_rank_correlation(images, originals)
    table.add("share with rank correlation 0.99 to a training image", float((near >= 0.99).mean()), most=0)


def _speed(upsampled: bool, seconds: float) -> float:
    """Images a second of processor time, of one process with one thread: what else runs does not count."""
    import torch

    torch.set_num_threads(1)
    generator = load_modality("imaging", {"upsample": upsampled}).generator(ENCODER.columns)
    own = tuple(PatientProfile(str(i), age=60.0, sex="F") for i in range(16))
    batch = Batch(own, ENCODER.encode(own), tuple(range(16)))
    generator.sample(batch)
    began, done = time.process_time(), 0
    while time.process_time() - began < seconds:
        done += len(generator.sample(batch))
    return done / (time.process_time() - began)


def speed(table: Table, quick: bool = False, place: Path | None = None) -> None:
    """Two processes, as the engine draws; then one process of an old build and one of this by turns."""
    table.head("Speed, two processes of one thread, images a second of processor time")
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for upsampled, bar in ((False, 40), (True, 8)):
            rates = list(pool.map(_speed, [upsampled] * 2, [8.0 if quick else 30.0] * 2))
            table.add("256 px" if upsampled else "as drawn, before the upsampler", sum(rates), None, bar)
    table.head(f"Images of 256 px a second of processor time, by turns with build {OLD}, medians")
    with TemporaryDirectory() as own:
        here, seconds = Path(own), 4.0 if quick else 15.0
        builds = [built(OLD, place or here, full=False), present()]

        def rate(build: Build) -> float:
            return float(build.run("-c", RATE, str(seconds), cwd=here)[2].strip().splitlines()[-1])

        turns = alternated([partial(rate, build) for build in builds], 1 if quick else 5)
        before, now = (statistics.median(float(str(turn)) for turn in own) for own in turns)
        table.add(f"this build's over the old one's ({now:.1f} over {before:.1f})", now / before, 1.0, FASTER)


def cost_of_clipping(table: Table) -> None:
    """What a private step costs over a plain one."""
    table.head("Private step over plain step, all parameters of the U-Net")
    for row in clipping.rows():
        table.add(row.name, row.ratio, None, most=clipping.RATIO_BAR if row.agreement is not None else None)


def main() -> int:
    """Print the tables; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="fewer images, and seed 0 alone unless said")
    parser.add_argument("--seeds", type=int, nargs="+", help="default 0 1")
    parser.add_argument("--only", choices=["p1", "p2", "free", "use", "skin", "speed", "clipping"])
    parser.add_argument("--place", type=Path, help=f"keeps build {OLD} between runs")
    parser.add_argument("--fresh", action="store_true", help="make anew what earlier runs kept")
    options = parser.parse_args()
    parts = []
    for seed in options.seeds or ((0,) if options.quick else (0, 1)):
        parts += [(part, seed) for part in SEEDED if options.only in (None, part, *WIDER.get(part, ()))]
    work = partial(section, data=options.data, quick=options.quick, fresh=options.fresh)
    tables = []
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for table in pool.map(work, *zip(*parts, strict=True)) if parts else ():
            print("\n".join(table.lines), flush=True)
            tables.append(table)
    for name, alone in (
        ("speed", partial(speed, quick=options.quick, place=options.place)),
        ("clipping", cost_of_clipping),
    ):
        if options.only in (None, name):  # not beside others: they measure time
            alone(table := Table(shown=True))
            tables.append(table)
    missed, made, used = (
        sum(getattr(table, name) for table in tables) for name in ("missed", "made", "used")
    )
    print(
        f"\n{missed} bars missed; {used} of {used + made} kept results are of earlier runs (--fresh makes them anew)"
    )
    return 1 if missed else 0


SEEDED = {"p1": p1, "p2": steered, "free": free, "use": use, "skin": skin}
WIDER = {"free": ("p2",)}  # what else `--only` asks for a part by


def section(part: str, seed: int, data: Path, quick: bool, fresh: bool) -> Table:
    """A part of the benchmark, of one seed, in a process of its own."""
    table, cache = Table(), Cache(data, fresh)
    SEEDED[part](table, data, quick, seed, cache)
    table.made, table.used = cache.made, cache.used
    return table


if __name__ == "__main__":
    sys.exit(main())
