"""What a kill at any file operation leaves: the re-run repairs it, to the same bytes, and no charge is lost or doubled.

    python benchmarks/kills.py [--quick] [--only NAME] [--most N]

Each command runs in a forked process that ends (os._exit, which runs no clean-up, as SIGKILL) at its n-th operation on
a file below its folder: opening to write, making, renaming, linking or removing; files that are written in one step are
also left half-written. A third of the re-runs are killed too. Then the command runs again, and what is there is
compared with a run that nobody disturbed. --most bounds the kills of a command (60), spread over its operations;
--quick takes 12. --data is accepted for uniformity and not used. Exits 1 where one is not repaired. Bar: 0 of 100 or
more.
"""

import argparse
import os
import platform
import random
import shutil
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KILLED = 9
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate")
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


# -- the commands


def generate(place: Path, again: bool) -> None:
    import polyclinic as pc

    pc.generate_cohort("icu", 2, out=place / "c", seed=7, modalities=["records"], workers=1, resume=again)


def table(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "dataset.yaml").write_text(DATASET)
    (place / "data" / "patients.csv").write_text(TRAINED)


def train(place: Path, again: bool) -> None:
    """Privately; where the weights are there whole, the run had ended."""
    import polyclinic as pc
    from polyclinic.core.errors import InputError

    out = place / "w.safetensors"
    try:
        pc.train("population", place / "data", out, epsilon=5.0, delta=1e-3, seed=1, checkpoints=place / "runs",
                 resume=False)  # fmt: skip
    except InputError as error:
        if not (again and "already there" in str(error)):
            raise


def charged(place: Path) -> Any:
    """What the ledger says: each entry but its run; that the weights are whole; that nothing is half-written."""
    from polyclinic.core.dp.ledger import Ledger
    from polyclinic.core.training.weights import load

    entries = Ledger(place / "ledger.jsonl").entries()
    card = load(place / "w.safetensors").card if (place / "w.safetensors").exists() else None
    private = (
        stat.S_IMODE((place / "ledger.jsonl.key").stat().st_mode) if entries and entries[0].people else 0
    )
    left = [name for name in tree(place) if name.endswith(".part")]
    paid = [(e.population, e.purpose, e.steps, e.noise_multiplier, bool(e.people)) for e in entries]
    return paid, card is None or card.epsilon, private, left


def descend(place: Path, again: bool) -> None:
    """DP-SGD on a line: charged, trained with a checkpoint, ended; gone on with where it was killed."""
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
              progress=False, people=people, resume=again)  # fmt: skip
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
    """A finished cohort, keys, and two policies: one that it passes, one that refuses it."""
    shutil.copytree(BASE / "c", place / "c")
    for name in ("key.pem", "key.pem.pub"):
        shutil.copy(BASE / name, place / name)
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


COMMANDS = (
    Command("generate", lambda place: None, generate, lambda place: tree(place / "c")),
    Command("train (noised table)", table, train, charged),
    Command("train (DP-SGD)", lambda place: None, descend, charged),
    Command("evaluate", cohort, evaluate, lambda place: tree(place / "e")),
    Command("release, passes", cohort, released("passes"), judged),
    Command("release, refused", cohort, released("refused"), judged),
    Command("convert", cohort, convert, lambda place: tree(place / "o")),
    Command("keys", lambda place: None, keys, paired),
)
BASE = Path()  # of the cohort that is copied, set by main()


# -- killing


def armed(at: int | None, below: Path) -> list[int]:
    """From now on this process ends at its `at`-th operation on a file below a folder; the count so far, in a list."""
    count = [0]
    home = str(below)

    def step() -> bool:
        count[0] += 1
        return count[0] == at

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not arguments or home not in str(arguments[0]):
            return
        if (event in CHANGES or (event == "open" and arguments[2] & WRITES)) and step():
            os._exit(KILLED)

    def write_bytes(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            if home in str(self) and step():
                file.write(content[: len(content) // 2])
                file.flush()
                os._exit(KILLED)
            return file.write(content)

    sync = os.fsync

    def fsync(number: int) -> None:
        if step():  # a line without its end
            os.ftruncate(number, max(0, os.fstat(number).st_size - 9))
            os._exit(KILLED)
        sync(number)

    Path.write_bytes = write_bytes  # type: ignore[method-assign,assignment]
    os.fsync = fsync  # type: ignore[assignment]
    sys.addaudithook(hook)
    return count


def in_child(do: Callable[[], None]) -> int:
    """The exit code of a forked process that does it; what it prints goes to the log."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        do()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def operations(command: Command, place: Path) -> int:
    """How many there are in a run that nobody disturbs, which is left there to compare with."""
    place.mkdir()
    command.prepare(place)
    note = place.with_suffix(".count")

    def counted() -> None:
        count = armed(None, place)
        command.run(place, False)
        note.write_text(str(count[0]))

    if in_child(counted):
        raise SystemExit(f"{command.name}: fails though nobody kills it")
    return int(note.read_text())


def problem(command: Command, place: Path, at: int, twice: int | None, expected: Any) -> str:
    """What is not repaired after a kill at that operation, and at that of the re-run; nothing if all is."""
    place.mkdir()
    command.prepare(place)

    def killed(again: bool, when: int) -> Callable[[], None]:
        def do() -> None:
            armed(when, place)
            command.run(place, again)

        return do

    code = in_child(killed(False, at))
    if code not in (KILLED, 0):
        return f"the killed run failed by itself ({code})"
    if twice is not None and (code := in_child(killed(True, twice))) not in (KILLED, 0):
        return f"the killed re-run failed by itself ({code})"
    if code := in_child(lambda: command.run(place, True)):
        return f"the re-run failed ({code})"
    try:
        found = command.state(place)
    except Exception as error:
        return f"cannot be read: {type(error).__name__}: {error}"
    return "" if found == expected else f"is not the same: {str(found)[:300]}"


def main() -> None:
    """Print a table, and exit 1 unless every kill was repaired."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="commands whose name has this word")
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--data")
    asked = parser.parse_args()
    most = 12 if asked.quick else asked.most
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    began = time.monotonic()
    import polyclinic as pc
    from polyclinic.core.cohort import cohort as cohort_module
    from polyclinic.core.cohort.signing import new_key

    global BASE
    cohort_module.SLICE = 1  # a slice a patient: more operations for fewer patients
    print(f"{platform.platform()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}\n")
    print("| command | file operations | killed | not repaired | |\n|---|---|---|---|---|", flush=True)
    kills, bad = 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        home, log = Path(folder), sys.stderr
        BASE = home / "base"
        BASE.mkdir()
        pc.generate_cohort("icu", 2, out=BASE / "c", seed=7, modalities=["records"], workers=1)
        pc.evaluate(BASE / "c", out=home / "warm", quick=True)  # what it imports is there for every fork
        new_key(BASE / "key.pem")
        for command in COMMANDS:
            if asked.only not in command.name:
                continue
            start, draws = time.monotonic(), random.Random(command.name)
            number = operations(command, home / "whole")
            expected = command.state(home / "whole")
            points = sorted(
                {1 + round(k * (number - 1) / max(1, most - 1)) for k in range(min(most, number))}
            )
            failed = []
            for place, at in enumerate(points):
                twice = draws.randint(1, number) if place % 3 == 2 else None
                if said := problem(command, home / "one", at, twice, expected):
                    failed.append(f"{command.name}, killed at {at}{f' and {twice}' if twice else ''}: {said}")
                shutil.rmtree(home / "one")
            shutil.rmtree(home / "whole")
            kills, bad = kills + len(points), bad + failed
            took = time.monotonic() - start
            print(f"| {command.name} | {number} | {len(points)} | {len(failed)} | {took:.0f} s |", flush=True)
            for line in failed:
                print(line, file=log, flush=True)
    print(f"\n{len(bad)} of {kills} kills not repaired, in {time.monotonic() - began:.0f} s")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
