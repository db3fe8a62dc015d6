"""What learns of the flow: adapters that start at nothing, merge exactly, and are clipped a patient."""

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from polyclinic.core.dp.budget import Budget, PrivacyPlan
from polyclinic.core.dp.clipping import Clipper
from polyclinic.core.errors import InputError
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.trainer import fit
from polyclinic.modalities.imaging import adapters
from polyclinic.modalities.imaging.diffusion import ImageDiffusion
from polyclinic.modalities.imaging.model import Denoiser, ImageModel, ImageTraining

SMALL = ImageModel(size=16, patch_size=2, widths=(16, 32), attention=(False, True), head=16, components=0)
ROWS = 3


def flow(trainable: adapters.Trainable = "all", **training: object) -> ImageDiffusion:
    torch.manual_seed(0)
    module = ImageDiffusion(("J18.9",), SMALL, ImageTraining(trainable=trainable, **training))  # type: ignore[arg-type]
    adapters.restrict(module.net, trainable, 2)
    return module


def stir(net: nn.Module) -> None:
    """What learns, away from its start."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)


def answer(net: Denoiser) -> Tensor:
    random = torch.Generator().manual_seed(2)
    x = torch.randn(2, 1, 16, 16, generator=random)
    with torch.no_grad():
        return net(x, torch.tensor([0.2, 0.7]), torch.ones(2, 1), torch.zeros(2))


class Fixed(nn.Module):
    """A flow whose examples' starts and times are not drawn but given, `multiplicity` of them a row."""

    def __init__(self, net: Denoiser, multiplicity: int = 1) -> None:
        super().__init__()
        self.net, self.multiplicity = net, multiplicity

    def losses(self, batch: Sequence[Tensor]) -> Tensor:
        x, time = (part.flatten(0, 1) for part in batch)  # (row, example, ...)
        out = self.net(x, time, torch.ones(len(x), 1), torch.zeros(len(x)))
        return out.square().mean(dim=(1, 2, 3)).view(-1, self.multiplicity).mean(1)


def one_by_one(task: Fixed, batch: Sequence[Tensor]) -> list[list[Tensor]]:
    """Each row's gradients, by a backward pass of its own."""
    learning = [p for p in task.parameters() if p.requires_grad]
    return [
        list(torch.autograd.grad(task.losses([part[i : i + 1] for part in batch]).sum(), learning))
        for i in range(len(batch[0]))
    ]


@pytest.mark.parametrize("multiplicity", [1, 3])
@pytest.mark.parametrize("trainable", ["all", "modulation", "lora"])
def test_what_is_clipped_is_each_patients_own_gradient(
    trainable: adapters.Trainable, multiplicity: int
) -> None:
    task = Fixed(flow(trainable).net.eval(), multiplicity)
    stir(task)
    random = torch.Generator().manual_seed(3)
    batch = (
        torch.randn(ROWS, multiplicity, 1, 16, 16, generator=random),
        torch.rand(ROWS, multiplicity, generator=random),
    )
    clipper = Clipper(task)
    assert not clipper.foreign
    found = clipper(batch)
    naive = one_by_one(task, batch)
    norms = torch.tensor([sum(float(g.square().sum()) for g in row) for row in naive]).sqrt()
    torch.testing.assert_close(found.norms(), norms, rtol=1e-4, atol=1e-6)
    bound = float(norms.median())  # above some rows, below others
    sums = found.clipped_sum(bound)
    for j, parameter in enumerate(p for p in task.parameters() if p.requires_grad):
        wanted = sum(row[j] * min(1.0, bound / float(n)) for row, n in zip(naive, norms, strict=True))
        torch.testing.assert_close(sums[parameter], wanted, rtol=1e-3, atol=1e-6)


def test_draws_that_would_mix_patients_are_refused() -> None:
    class Mixed(Fixed):
        def losses(self, batch: Sequence[Tensor]) -> Tensor:
            return super().losses(batch).flip(0) + super().losses(batch)

    batch = torch.randn(ROWS, 2, 1, 16, 16), torch.rand(ROWS, 2)
    with pytest.raises(InputError, match="depends on another row"):
        Clipper(Mixed(flow().net, 2))(batch)


def test_adapters_start_at_nothing_and_merge_exactly() -> None:
    plain, adapted = flow().net.eval(), flow("lora").net.eval()
    assert any(isinstance(layer, adapters.Adapter) for layer in adapted.modules())
    torch.testing.assert_close(answer(adapted), answer(plain))
    stir(adapted)
    moved = answer(adapted)
    assert not torch.allclose(moved, answer(plain), atol=1e-3)
    adapters.merge(adapted)
    assert list(adapted.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(answer(adapted), moved, rtol=1e-4, atol=1e-5)


def test_fewer_numbers_learn() -> None:
    counts = {
        kind: sum(p.numel() for p in flow(kind).net.parameters() if p.requires_grad)
        for kind in ("all", "modulation", "lora")
    }
    assert counts["modulation"] < counts["lora"] < counts["all"]


def test_one_draw_is_the_plain_loss_and_many_are_their_mean() -> None:
    images = torch.randint(0, 256, (ROWS, 1, 16, 16), dtype=torch.uint8)
    code = torch.ones(ROWS, 1)
    many = flow(augmentation_multiplicity=4)
    torch.manual_seed(5)
    found = many.losses((images, code))
    one = flow()
    torch.manual_seed(5)
    alone = one.losses((images.repeat_interleave(4, 0), code.repeat_interleave(4, 0)))
    torch.testing.assert_close(found, alone.view(ROWS, 4).mean(1))


@pytest.mark.parametrize("trainable", ["modulation", "lora"])
def test_private_training_moves_what_learns_and_nothing_else(
    tmp_path: Path, trainable: adapters.Trainable
) -> None:
    module = flow(trainable, augmentation_multiplicity=2)
    before = copy.deepcopy(dict(module.named_parameters()))
    data = TensorDataset(torch.randint(0, 256, (20, 1, 16, 16), dtype=torch.uint8), torch.ones(20, 1))
    plan = PrivacyPlan.for_budget(Budget(10.0, 1e-3), 20, 10, 3, 0.3)
    fit(
        module, data, Fit(folder=tmp_path, accelerator="cpu", progress=False), name="x", steps=3, batch_size=4,
        plan=plan, patients=[str(i) for i in range(20)], ema=None,
    )  # fmt: skip
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


def test_every_number_that_learns_has_a_gradient_a_patient() -> None:
    for kind in ("all", "modulation", "lora"):
        task = Fixed(flow(kind).net.eval())  # type: ignore[arg-type]
        stir(task)
        found = Clipper(task)((torch.randn(ROWS, 1, 1, 16, 16), torch.rand(ROWS, 1)))
        sums = found.clipped_sum(1.0)
        learning = [p for p in task.parameters() if p.requires_grad]
        assert set(sums) == set(learning)
        assert all(bool(torch.isfinite(sums[p]).all()) and bool(sums[p].any()) for p in learning)


def test_a_thousandfold_noise_destroys_what_the_flow_would_learn(tmp_path: Path) -> None:
    """The same images, steps and clipping: with next to no noise the loss falls, with 1000 it does not."""
    torch.manual_seed(7)
    data = TensorDataset((torch.rand(24, 1, 16, 16) * 40 + 200).to(torch.uint8), torch.ones(24, 1))

    def loss(module: ImageDiffusion) -> float:
        torch.manual_seed(11)
        with torch.no_grad():
            return float(torch.stack([module.losses(data[:]).mean() for _ in range(8)]).mean())

    after = {}
    for noise in (1e-3, 1000.0):
        module = flow(learning_rate=3e-3)
        plan = PrivacyPlan(24, 0.5, noise, 30, 1e-3, 0.3)
        fit(
            module, data, Fit(folder=tmp_path / f"{noise}", accelerator="cpu", progress=False), name="x",
            steps=30, batch_size=24, plan=plan, patients=[str(i) for i in range(24)], ema=None,
        )  # fmt: skip
        after[noise] = loss(module)
    start = loss(flow())
    assert after[1e-3] < 0.8 * start
    assert after[1000.0] > 0.95 * start
