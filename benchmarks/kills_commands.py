"""The commands that kills.py kills: what must be there, the run and its re-run, and what must be the same."""

import json
import shutil
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

TRAINED = "patient_id,split,record,years,sex\n" + "".join(
    f"p{i},train,x,{40 + i % 40},{'wm'[i % 2]}\n" for i in range(200)
)
DATASET = """
name: mine
path: .
table: patients.csv
fields: {age: {column: years}, sex: {column: sex, values: {w: F, m: M}}}
options: {modality: population}
"""
POLICY = """
format: 2
name: lab
terms: {patients_at_least: %d, roles: [steward], retention_days: 30}
gate_one:
  limits: {ks_above_baseline_at_most: 1, frechet_above_baseline_at_most: 9, c2st_auc_at_most: 1, tstr_share_at_least: 0}
  linkage_score_at_least: 0
gate_two:
  {auc_upper_at_most: 1, tpr_at_1_fpr_at_most: 1, near_copies_above_controls_at_most: 1, public_weights: true,
   epsilon_at_most: 10, audit: false}
may_be_unmeasured: ["*"]
"""


@dataclass(frozen=True)
class Command:
    """`prepare` makes what must be there; `run` is the command, or its re-run; `state` is what must be the same."""

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path, bool], None]
    state: Callable[[Path], Any]


def tree(folder: Path) -> dict[str, bytes]:
    """Bytes of all files below."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def generate(place: Path, again: bool) -> None:
    import polyclinic as pc

    pc.generate_cohort("icu", 2, out=place / "c", seed=7, modalities=["records"], workers=1, resume=again)


def table(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "dataset.yaml").write_text(DATASET)
    (place / "data" / "patients.csv").write_text(TRAINED)


def train(place: Path, again: bool) -> None:
    """Privately, at one go; where the weights are there whole, the run had ended."""
    import polyclinic as pc
    from polyclinic.core.errors import InputError

    out = place / "w.safetensors"
    try:
        with told_of_a_second_charge(place):
            pc.train(
                "population", place / "data", out, epsilon=5.0, delta=1e-3, seed=1, checkpoints=place / "runs"
            )
    except InputError as error:
        if not (again and "already there" in str(error)):
            raise


def runs(place: Path) -> dict[str, list[Any]]:
    """What the ledger says of each run, in the order of their charges: all but the sketch of the patients."""
    from polyclinic.core.dp.ledger import Ledger

    found: dict[str, list[Any]] = {}
    for e in Ledger(place / "ledger.jsonl").entries():
        found.setdefault(e.run, []).append(
            (e.population, e.purpose, e.steps, e.noise_multiplier, bool(e.people))
        )
    return found


@contextmanager
def told_of_a_second_charge(place: Path) -> Iterator[None]:
    """Fails where a run is charged beside one that was charged before, and stderr does not say so."""
    before, said = len(runs(place)), StringIO()
    try:
        with redirect_stderr(said):
            yield
    finally:
        print(said.getvalue(), end="", file=sys.stderr)
    if before and len(runs(place)) > before and "was charged already" not in said.getvalue():
        raise RuntimeError("a second charge, and nothing says so")


def trained(place: Path) -> Any:
    """The last run's charge; that the weights are whole, the ledger's key private, and nothing is half-written."""
    from polyclinic.core.training.weights import load

    file = place / "w.safetensors"
    spent = load(file).card.epsilon if file.exists() else None
    private = stat.S_IMODE((place / "ledger.jsonl.key").stat().st_mode)
    left = [name for name in tree(place) if name.endswith(".part")]
    return list(runs(place).values())[-1], spent, private, left


def charged_once(place: Path) -> Any:
    """As trained, and that no run but one was charged."""
    return len(runs(place)), trained(place)


def descend(place: Path, again: bool) -> None:
    """DP-SGD on a line: charged, trained with a checkpoint, ended; gone on with (--resume) where it was killed."""
    slope(place, again)


def anew(place: Path, again: bool) -> None:
    """The same without --resume: charged again, and told so."""
    with told_of_a_second_charge(place):
        slope(place, False)


def slope(place: Path, resume: bool) -> None:
    import lightning.pytorch as pl
    import torch
    from torch.utils.data import TensorDataset

    from polyclinic.core.dp.budget import PrivacyPlan
    from polyclinic.core.dp.ledger import pay
    from polyclinic.core.training.fit import Fit
    from polyclinic.core.training.trainer import fit

    class Slope(pl.LightningModule):
        """y = w x."""

        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(1, 1, bias=False)

        def losses(self, batch: Any) -> torch.Tensor:
            return (self.line(batch[0]) - batch[1]).square().mean(1)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    people = tuple(f"p{i}" for i in range(40))
    plan = PrivacyPlan(40, 0.5, 1.0, 6, 1e-3, 1.0)
    how = Fit(folder=place / "runs", ledger=place / "ledger.jsonl", precision="32-true", accelerator="cpu",
              progress=False, people=people, resume=resume)  # fmt: skip
    pay(how, plan, "mine", "slope")
    x = torch.linspace(-1, 1, 40)[:, None]
    fit(
        Slope(),
        TensorDataset(x, 2 * x),
        how,
        name="slope",
        steps=0,
        batch_size=8,
        plan=plan,
        patients=people,
        ema=None,
    )


def cohort(place: Path) -> None:
    """Of the folder `base` beside it: a finished cohort, keys, and policies that it passes, and that refuse it."""
    shutil.copytree(place.parent / "base" / "c", place / "c")
    for name in ("key.pem", "key.pem.pub"):
        shutil.copy(place.parent / "base" / name, place / name)
    (place / "passes.yaml").write_text(POLICY % 1)
    (place / "refused.yaml").write_text(POLICY % 100)


def evaluate(place: Path, again: bool) -> None:
    import polyclinic as pc

    pc.evaluate(place / "c", out=place / "e", quick=True, overwrite=again)


def convert(place: Path, again: bool) -> None:
    """Where the folder is there whole, the run had ended."""
    import polyclinic as pc

    if not (again and (place / "o").is_dir() and any((place / "o").iterdir())):
        pc.convert(place / "c", "csv", out=place / "o")


def keys(place: Path, again: bool) -> None:
    """Where both halves are there, the run had ended."""
    from polyclinic.core.cohort.signing import new_key

    if not (again and (place / "k.pem").exists() and (place / "k.pem.pub").exists()):
        new_key(place / "k.pem")


def paired(place: Path) -> Any:
    from polyclinic.core.cohort.signing import Signer, read_public

    pair = Signer.load(place / "k.pem").public == read_public(str(place / "k.pem.pub"))
    return pair, stat.S_IMODE((place / "k.pem").stat().st_mode), sorted(tree(place))


def released(policy: str) -> Callable[[Path, bool], None]:
    def release(place: Path, again: bool) -> None:
        from polyclinic.app.governance.release import ReleaseContext, release

        release(place / "c", ReleaseContext.load(str(place / f"{policy}.yaml"), place / "key.pem"))

    return release


def judged(place: Path) -> Any:
    """The verdict, how often it was made, what verification says, and that the papers are complete."""
    from polyclinic.app.governance import certificate, verification
    from polyclinic.core.cohort.journal import JUDGED, Journal

    verdicts = {event.details["passed"] for event in Journal(place / "c").events() if event.event == JUDGED}
    problems = verification.verify(place / "c").problems
    names = {name for name in tree(place / "c") if not name.endswith(".torn")}
    return certificate.read(place / "c")["verdict"]["passed"], verdicts, problems, names


def archive(place: Path) -> dict[str, str]:
    """The archives of push_servers.py, in a process of their own that ends with this one: where to push to."""
    home = place.parent / "archive"
    if not home.exists():
        home.mkdir()
        subprocess.Popen([sys.executable, str(Path(__file__).with_name("push_servers.py")), str(home)])
        while not (home / "ports.json").exists():
            time.sleep(0.05)
    found: dict[str, str] = json.loads((home / "ports.json").read_text())
    return found


def images(place: Path) -> None:
    """Five pictures, an archive that has none of them, and batches of two, so that there are several."""
    from push_cohorts import cohort as pictures

    from polyclinic.app.push.cstore import CStoreSender
    from polyclinic.app.push.stow import StowSender

    StowSender.most = CStoreSender.most = 2
    archive(place)
    (place.parent / "archive" / "stored.jsonl").unlink(missing_ok=True)
    pictures(place / "c", 5)


def pushed(way: str) -> Callable[[Path, bool], None]:
    def push(place: Path, again: bool) -> None:
        import polyclinic as pc

        to = archive(place)
        if again:  # what the killed one sent is stored
            urlopen(to["web"].removeprefix("dicomweb+") + "/idle")
        pc.push(place / "c", to[way], unreleased=True)

    return push


def held_once(place: Path) -> Any:
    """How often each picture came, and how many the journals say are there."""
    import polyclinic as pc

    lines = (place.parent / "archive" / "stored.jsonl").read_text().splitlines()
    there = [pc.push(place / "c", to, unreleased=True, dry_run=True).held for to in archive(place).values()]
    return Counter(json.loads(line)[0] for line in lines), sum(there)


def released_cohort(place: Path) -> None:
    """Of a release that passed, made once."""
    base = place.parent / "base-released"
    if not base.exists():
        base.mkdir()
        cohort(base)
        released("passes")(base, False)
    for path in base.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, place / path.name)


def copied(place: Path, again: bool) -> None:
    import polyclinic as pc

    pc.push(place / "c", (place / "bucket").as_uri(), sign=place / "key.pem")


def whole_copy(place: Path) -> Any:
    """All that is in the bucket, what verification says of it, and the last event of the audit log."""
    from polyclinic.app.governance import verification
    from polyclinic.core.cohort.journal import Journal

    last = Journal(place / "c").events()[-1]
    problems = [verification.verify(place / name).problems for name in ("c", "bucket")]
    names = {name for name in tree(place / "bucket") if name != "journal.jsonl"}
    return names, problems, last.event, last.details["there"] >= len(names)


COMMANDS = (
    Command("generate", lambda place: None, generate, lambda place: tree(place / "c")),
    Command("train (noised table)", table, train, trained),
    Command("train (DP-SGD), --resume", lambda place: None, descend, charged_once),
    Command("train (DP-SGD), anew", lambda place: None, anew, trained),
    Command("evaluate", cohort, evaluate, lambda place: tree(place / "e")),
    Command("release, passes", cohort, released("passes"), judged),
    Command("release, refused", cohort, released("refused"), judged),
    Command("convert", cohort, convert, lambda place: tree(place / "o")),
    Command("keys", lambda place: None, keys, paired),
    Command("push, STOW-RS", images, pushed("web"), held_once),
    Command("push, C-STORE", images, pushed("dimse"), held_once),
    Command("push, folder", released_cohort, copied, whole_copy),
)
