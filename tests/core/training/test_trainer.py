"""Trainings that --max-minutes ends, and the plans of private ones: what is said, charged and finished."""

import pickle
import time
from pathlib import Path, PurePosixPath

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from polyclinic.core.dp.budget import Budget, PrivacyPlan
from polyclinic.core.dp.ledger import Ledger, pay
from polyclinic.core.errors import InputError
from polyclinic.core.remarks import DataWarning, remarks
from polyclinic.core.training import planning
from polyclinic.core.training.fit import Fit, Outcome
from polyclinic.core.training.trainer import STATE, fit, seconds_a_step, sound

STEPS = 60
ROWS = TensorDataset(torch.linspace(-1, 1, 40)[:, None], torch.linspace(-2, 2, 40)[:, None])
PEOPLE = [f"p{i}" for i in range(40)]


class Line(pl.LightningModule):
    """y = w x by squared error, each step at least `pause` seconds long."""

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__()
        self.line, self.pause = nn.Linear(1, 1, bias=False), pause

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        time.sleep(self.pause)
        return (self.line(batch[0]) - batch[1]).square().mean(1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.losses(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def how(place: Path, **changes: object) -> Fit:
    settings = {"precision": "32-true", "accelerator": "cpu", "progress": False, **changes}
    return Fit(place / "run", ledger=place / "ledger.jsonl", budget=Budget(9, 1e-3), **settings)  # type: ignore[arg-type]


def of(steps: int) -> PrivacyPlan:
    return PrivacyPlan(40, 0.5, 2.0, steps, 1e-3, 1.0)


def public(place: Path, pause: float, **changes: object) -> tuple[Outcome, list[str]]:
    with remarks(lambda text: None) as found:
        return fit(Line(pause), ROWS, how(place, **changes), name="line", steps=STEPS, batch_size=8), list(
            found
        )


def private(place: Path, pause: float, **changes: object) -> tuple[Outcome, list[str]]:
    run = how(place, **changes)
    pay(run, of(STEPS), "people", "line")
    with remarks(lambda text: None) as found:
        outcome = fit(
            Line(pause), ROWS, run, name="line", steps=0, batch_size=40, plan=of(STEPS), patients=PEOPLE
        )
    return outcome, list(found)


@pytest.mark.parametrize("learn", [public, private])
def test_a_training_that_the_minutes_end_says_so_and_is_finished_by_resume(learn, tmp_path):
    first, said = learn(tmp_path, 0.1, max_minutes=0.5 / 60)
    assert 0 < first.steps < first.planned == STEPS
    (text,) = said
    assert f"line: ended by --max-minutes after {first.steps} of {STEPS} planned steps" in text
    assert "--resume" in text
    assert ("charged for all" in text) == (learn is private)
    second, _ = learn(tmp_path, 0.1, max_minutes=0.5 / 60, resume=True)
    assert first.steps < second.steps  # it has as many minutes again
    done, said = learn(tmp_path, 0.0, resume=True)
    assert (done.steps, done.planned, said) == (STEPS, STEPS, [])
    if learn is private:
        assert len(Ledger(tmp_path / "ledger.jsonl").entries()) == 1


def test_the_time_of_a_step_is_measured_without_touching_the_module(tmp_path):
    module = Line(0.01)
    before, state = module.line.weight.detach().clone(), torch.get_rng_state()
    seconds = seconds_a_step(module, [torch.zeros(1, 1), torch.zeros(1, 1)], how(tmp_path), of(STEPS), 8)
    assert seconds >= 0.01
    assert torch.equal(module.line.weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("minutes", "steps"), [(None, STEPS), (10.0, STEPS), (0.5, 27), (1e-6, 1)])
def test_no_more_steps_are_planned_than_fit_and_a_resumed_run_keeps_them(
    minutes, steps, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(planning.trainer, "seconds_a_step", lambda *_: 1.0)
    run = how(tmp_path, max_minutes=minutes)
    with remarks(lambda text: None) as said:
        planned, seconds = planning.plan(Line(), [], run, "line", STEPS, 8, of)
    assert (planned, seconds) == (of(steps), 1.0)
    assert bool(said) == (steps < STEPS)
    pay(run, {"line": planned}, "people", seconds=seconds)
    if steps > 1:
        line = (
            f"plan: {steps} steps of about 20 of 40 patients, about {steps / 60:.1f} minutes, signal-to-noise"
        )
        assert line in capsys.readouterr().err
    monkeypatch.setattr(planning.trainer, "seconds_a_step", lambda *_: 7.0)
    resumed = how(tmp_path, max_minutes=minutes, resume=True)
    assert planning.plan(Line(), [], resumed, "line", STEPS, 8, of)[0] == planned


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "code": lambda path: path.write_bytes(pickle.dumps(PurePosixPath("/"))),
    "another model": lambda path: torch.save({**torch.load(path, weights_only=True), "state_dict": {}}, path),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_checkpoint_of_a_public_training_is_set_aside_and_told(how, tmp_path):
    net, path = pl.LightningModule(), tmp_path / "last.ckpt"
    net.layer = torch.nn.Linear(2, 1)
    assert not sound(path, net)
    whole = {key: {} for key in STATE} | {"state_dict": net.state_dict()}
    torch.save(whole, path)
    assert sound(path, net)
    DAMAGE[how](path)
    with pytest.warns(DataWarning, match=r"kept as last\.ckpt\.damaged, and training begins anew"):
        assert not sound(path, net)
    assert not path.exists()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_of_a_private_run_is_refused_and_kept(damage, tmp_path):
    plan = of(4)

    def run(**changes: object) -> Outcome:
        asked = how(tmp_path, **changes)
        pay(asked, {"line": plan}, "people")
        return fit(Line(), ROWS, asked, name="line", steps=4, batch_size=8, plan=plan, patients=PEOPLE)

    run()
    ledger = (tmp_path / "ledger.jsonl").read_bytes()
    last = tmp_path / "run" / "line" / "last.ckpt"
    assert run(resume=True).steps == 4  # a whole one is read
    DAMAGE[damage](last)
    kept = last.read_bytes()
    with pytest.raises(InputError, match="put it back from a copy, or begin a new run, which is charged"):
        run(resume=True)
    assert last.read_bytes() == kept
    assert (tmp_path / "ledger.jsonl").read_bytes() == ledger
