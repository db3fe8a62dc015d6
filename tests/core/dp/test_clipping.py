"""Row gradients: every layer kind against Opacus and against one row at a time, and what is refused."""

import copy
from collections.abc import Callable

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from polyclinic.core.dp.clipping import Clipper
from polyclinic.core.dp.layers import CACHED, FEW, Products, products
from polyclinic.core.errors import InputError
from polyclinic.modalities.imaging.diffusion import ImageDiffusion
from polyclinic.modalities.imaging.model import ImageModel, ImageTraining

ROWS = 5


class Task(nn.Module):
    """Squared output of a network, a row."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def losses(self, batch: tuple[Tensor, ...]) -> Tensor:
        out = self.net(*batch)
        return (
            (out.float() * torch.linspace(-1, 2, out[0].numel()).view(out[0].shape) + out)
            .square()
            .flatten(1)
            .mean(1)
        )


def one_by_one(task: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """(row, *shape) gradients of each parameter by plain autograd, a row at a time."""
    found: dict[str, list[Tensor]] = {}
    for row in range(len(batch[0])):
        task.zero_grad()
        task.losses(tuple(part[row : row + 1] for part in batch)).sum().backward()
        for name, p in task.named_parameters():
            if p.requires_grad:
                found.setdefault(name, []).append(torch.zeros_like(p) if p.grad is None else p.grad.clone())
    task.zero_grad()
    return {name: torch.stack(rows) for name, rows in found.items()}


def lengths(gradients: dict[str, Tensor]) -> Tensor:
    return torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0).sqrt()


def clipped(gradients: dict[str, Tensor], bound: float) -> dict[str, Tensor]:
    factors = (bound / lengths(gradients)).clamp(max=1)
    return {name: torch.tensordot(factors, g, dims=1) for name, g in gradients.items()}


def compare(task: nn.Module, batch: tuple[Tensor, ...], wanted: dict[str, Tensor]) -> None:
    """The clipper's norms and clipped sum against given row gradients, to 1e-5."""
    norms = lengths(wanted)
    found = Clipper(task)(batch)
    torch.testing.assert_close(found.norms(), norms, rtol=1e-5, atol=0)
    bound = float(norms.median())  # some rows are clipped, some are not
    sums, names = found.clipped_sum(bound), {p: name for name, p in task.named_parameters()}
    assert {names[p] for p in sums} == set(wanted)
    right = clipped(wanted, bound)
    scale = max(float(g.abs().max()) for g in right.values())
    for p, got in sums.items():
        assert got.shape == p.shape
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, right[names[p]], rtol=1e-5, atol=1e-5 * scale)
        assert p.requires_grad
        assert p.grad is None


class Heads(nn.Module):
    """Attention written with plain linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))


class Twice(nn.Module):
    """One layer, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.line(x).tanh())


def tied() -> nn.Module:
    """Two layers, one weight."""
    net = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    net[2].weight = net[0].weight
    return net


def big(side: int) -> Tensor:
    return torch.randn(ROWS, 3, side, side)


side = int(FEW**0.5)
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "linear": (lambda: nn.Linear(7, 4), lambda: torch.randn(ROWS, 7)),
    "linear over a sequence": (lambda: nn.Linear(7, 4, bias=False), lambda: torch.randn(ROWS, 9, 7)),
    "linear over time, as products": (lambda: nn.Linear(40, 50), lambda: torch.randn(ROWS, 6, 40)),
    "linear over two axes": (lambda: nn.Linear(7, 4), lambda: torch.randn(ROWS, 3, 2, 7)),
    "conv, few positions": (lambda: nn.Conv2d(3, 4, 3, padding=1), lambda: big(side)),
    "conv, many positions": (lambda: nn.Conv2d(3, 4, 3, padding=1), lambda: big(side + 8)),
    "conv, stride": (lambda: nn.Conv2d(3, 4, 3, 2, 1), lambda: big(9)),
    "conv, stride, many": (lambda: nn.Conv2d(3, 4, 4, 2, 1), lambda: big(2 * side + 8)),
    "conv, dilation": (lambda: nn.Conv2d(3, 4, 3, padding=2, dilation=2, bias=False), lambda: big(8)),
    "conv, dilation, many": (lambda: nn.Conv2d(3, 4, (1, 3), padding=(0, 2), dilation=(1, 2)), lambda: big(side + 4)),
    "conv, uneven": (lambda: nn.Conv2d(3, 4, (3, 2), (1, 2), (1, 0), (2, 1)), lambda: big(8)),
    "conv, one pixel": (lambda: nn.Conv2d(3, 4, 1), lambda: big(side + 4)),
    "conv, one pixel, stride": (lambda: nn.Conv2d(3, 4, 1, 2), lambda: big(7)),
    "conv1d": (lambda: nn.Conv1d(3, 4, 5, stride=2, padding=2), lambda: torch.randn(ROWS, 3, 40)),
    "conv1d, many": (lambda: nn.Conv1d(3, 4, 5, padding=4, dilation=2), lambda: torch.randn(ROWS, 3, FEW + 40)),
    "group norm": (lambda: nn.GroupNorm(2, 6), lambda: 3 + torch.randn(ROWS, 6, 5, 4)),
    "group norm over a line": (lambda: nn.GroupNorm(3, 6), lambda: torch.randn(ROWS, 6, 11)),
    "group norm, in pieces": (lambda: nn.GroupNorm(2, 4), lambda: torch.randn(ROWS, 4, CACHED // 8)),
    "layer norm": (lambda: nn.LayerNorm(6), lambda: torch.randn(ROWS, 7, 6)),
    "layer norm, two axes": (lambda: nn.LayerNorm((7, 6)), lambda: torch.randn(ROWS, 7, 6)),
    "layer norm of a vector": (lambda: nn.LayerNorm(6), lambda: torch.randn(ROWS, 6)),
    "embedding": (lambda: nn.Embedding(5, 3, padding_idx=0), lambda: torch.randint(5, (ROWS, 7))),
    "embedding of one": (lambda: nn.Embedding(5, 3), lambda: torch.randint(5, (ROWS,))),
    "attention": (Heads, lambda: torch.randn(ROWS, 6, 8)),
    "called twice": (Twice, lambda: torch.randn(ROWS, 6)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_rows_add_up_to_the_plain_gradient() -> None:
    """Unclipped, on the image model as it is trained: channels last, all layers together."""
    module, batch = image_model()
    task = Steady(module)
    found = Clipper(task)(batch)
    task.losses(batch).sum().backward()
    largest = max(float(p.grad.abs().max()) for p in task.parameters() if p.grad is not None)
    for p, total in found.clipped_sum(1e9).items():
        torch.testing.assert_close(total, p.grad, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_agrees_with_opacus(kind: str) -> None:
    from opacus import GradSampleModule

    make, data = LAYERS[kind]
    task, batch = Task(make()), (data(),)
    theirs = copy.deepcopy(task)
    sampled = GradSampleModule(theirs.net, loss_reduction="sum")
    theirs.losses(batch).sum().backward()
    wanted = {name: p.grad_sample.clone() for name, p in theirs.named_parameters()}  # type: ignore[attr-defined]
    sampled.remove_hooks()
    compare(task, batch, wanted)
    compare(task, batch, one_by_one(task, batch))


@pytest.mark.parametrize(
    "make",
    [
        tied,
        lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 6)),
        lambda: nn.Sequential(
            nn.Linear(6, 6).requires_grad_(False), nn.LayerNorm(6, bias=False), nn.Linear(6, 6)
        ),
    ],
    ids=["tied", "changed in place after", "partly frozen"],
)
def test_agrees_with_a_row_at_a_time(make: Callable[[], nn.Module]) -> None:
    task, batch = Task(make()), (torch.randn(ROWS, 6),)
    assert not Clipper(task).foreign
    compare(task, batch, one_by_one(task, batch))


class Bare(nn.Module):
    """A parameter that no layer owns."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.spread = nn.Linear(6, 6), nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x) / self.spread.exp()


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unit, self.head = nn.GRU(6, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.unit(x[:, None].expand(-1, 5, -1))[0])


FOREIGN = [
    Bare,
    Recurrent,
    lambda: nn.Sequential(nn.Unflatten(1, (6, 1)), nn.Conv1d(6, 6, 1, groups=2)),
    lambda: nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 2, 3, padding="same")),
]


@pytest.mark.parametrize("make", FOREIGN, ids=["bare parameter", "GRU", "groups", "padding same"])
def test_what_has_no_rule_is_differentiated_row_by_row(make: Callable[[], nn.Module]) -> None:
    task, batch = Task(make()), (torch.randn(ROWS, 6),)
    assert Clipper(task).foreign
    compare(task, batch, one_by_one(task, batch))


def image_model(**changes: object) -> tuple[ImageDiffusion, tuple[Tensor, Tensor]]:
    shape = ImageModel(size=16, widths=(32, 32), attention=(False, True), head=16, components=2)
    module = ImageDiffusion([f"c{i}" for i in range(6)], shape, ImageTraining(hide=0.0, **changes))  # type: ignore[arg-type]
    for p in module.parameters():
        nn.init.normal_(p, 0.0, 0.1)  # no layer starts at zero
    return module, (torch.randint(0, 255, (4, 1, 16, 16), dtype=torch.uint8), torch.randn(4, 6))


class Steady(pl.LightningModule):
    """The image model with the same noise and times at each call, so that two ways can be compared."""

    def __init__(self, module: ImageDiffusion) -> None:
        super().__init__()
        self.module = module

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        torch.manual_seed(3)
        return self.module.losses(batch)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_the_image_model_agrees_with_opacus(monkeypatch: pytest.MonkeyPatch) -> None:
    from opacus import GradSampleModule
    from opacus.grad_sample import conv

    # Opacus 1.6 cuts patches as if every image were stored row by row: wrong for channels_last
    unfold = conv.unfold2d
    monkeypatch.setattr(conv, "unfold2d", lambda x, **how: unfold(x.contiguous(), **how))
    module, batch = image_model()
    task = Steady(module)
    sampled = GradSampleModule(task, loss_reduction="sum")
    task.losses(batch).sum().backward()
    wanted = {name: p.grad_sample.clone() for name, p in task.named_parameters()}  # type: ignore[attr-defined]
    sampled.remove_hooks()
    for p in task.parameters():
        p.grad = None
    assert not Clipper(task).foreign
    compare(task, batch, wanted)


def test_in_reduced_precision_norms_are_those_of_what_is_summed() -> None:
    """Whatever bfloat16 rounds, no row moves the sum by more than the bound."""
    module, batch = image_model()
    with torch.autocast("cpu", torch.bfloat16):
        found = Clipper(Steady(module))(batch)
    wholes = {str(i): part.whole().contiguous() for i, part in enumerate(found.parts.values())}
    torch.testing.assert_close(found.norms(), lengths(wholes), rtol=1e-5, atol=0)
    bound = 0.5 * float(found.norms().min())
    moved = torch.cat([g.flatten() for g in found.clipped_sum(bound).values()]).norm()
    assert float(moved) <= len(batch[0]) * bound * (1 + 1e-5)
    exact = Clipper(Steady(module))(batch).norms()
    torch.testing.assert_close(found.norms(), exact, rtol=0.1, atol=0)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiled_model_is_clipped_all_the_same() -> None:
    module, batch = image_model(compile=True)
    assert Clipper(Steady(module))(batch).norms().isfinite().all()


def test_a_row_that_is_not_finite_counts_as_none() -> None:
    task = Task(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)))
    batch = torch.randn(4, 3)
    spoiled = batch.clone()
    spoiled[1] = torch.nan
    kept = Clipper(task)((batch[[0, 2, 3]],)).clipped_sum(0.1)
    found = Clipper(task)((spoiled,)).clipped_sum(0.1)
    for p, got in found.items():
        torch.testing.assert_close(got, kept[p])


def test_products_that_cancel_are_not_told_too_short() -> None:
    left, right = torch.randn(ROWS, 2, 300), torch.randn(ROWS, 2, 200)
    left[:, 1], right[:, 1] = -left[:, 0], right[:, 0]
    part = products(left, right)
    assert isinstance(part, Products)
    assert (part.squares() >= part.whole().flatten(1).square().sum(1)).all()
    assert (part.squares() < 1e-3 * left[:, 0].norm(dim=1) ** 2 * right[:, 0].norm(dim=1) ** 2).all()


class Weighted(Task):
    gradient_weights = {"net.0.weight": 0.25, "net.2.bias": 3.0}  # noqa: RUF012


def test_parameters_count_by_their_weights() -> None:
    """The norm of weighted gradients bounds what is summed, and the noise is as much larger where a weight is small."""
    task, batch = (
        Weighted(nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))),
        (torch.randn(ROWS, 6),),
    )
    alone = one_by_one(task, batch)
    counted = {name: task.gradient_weights.get(name, 1.0) * g for name, g in alone.items()}
    found = Clipper(task)(batch)
    torch.testing.assert_close(found.norms(), lengths(counted), rtol=1e-5, atol=0)
    bound = float(found.norms().median())
    factors = (bound / lengths(counted)).clamp(max=1)
    names = {p: name for name, p in task.named_parameters()}
    for p, got in found.clipped_sum(bound).items():
        torch.testing.assert_close(
            got, torch.tensordot(factors, alone[names[p]], dims=1), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("weights", [{"net.weight": 0.0}, {"net.wait": 1.0}])
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float]) -> None:
    task = Task(nn.Linear(6, 6))
    task.gradient_weights = weights  # type: ignore[assignment]
    with pytest.raises(InputError, match="gradient_weights"):
        Clipper(task)


class Contrast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        out = self.line(x)
        return out - out.mean(0)


class Causal(Contrast):
    def forward(self, x: Tensor) -> Tensor:
        return self.line(x).cumsum(0)


class Hidden(Causal):
    """Mixes before a last layer that starts at 0, which no gradient passes."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 6)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(super().forward(x))


class Flat(Contrast):
    def forward(self, x: Tensor) -> Tensor:
        return self.line(x.reshape(2 * len(x), 3).repeat(1, 2)).reshape(len(x), 12)


class Remembering(Contrast):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.detach().mean(0)
        return self.line(x)


class Around(Contrast):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.line.weight)


class Unused(Contrast):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x)


class Spoiling(Contrast):
    def forward(self, x: Tensor) -> Tensor:
        x = 1 * x
        out = self.line(x)
        x.add_(1)
        return out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.BatchNorm1d(6), "mixes patients"),
        (
            lambda: nn.Sequential(nn.Unflatten(1, (6, 1)), nn.InstanceNorm1d(6, track_running_stats=True)),
            "mixes",
        ),
        (Contrast, "depends on another row"),
        (Causal, "depends on another row"),
        (Hidden, "depends on another row"),
        (Flat, "rows first"),
        (Remembering, "buffer net.seen"),
        (Around, "no gradient a patient for parameter net.line.weight"),
        (Unused, "no gradient a patient for parameter net.other.weight"),
        (Spoiling, "changed in place"),
        (lambda: nn.Linear(6, 6).requires_grad_(False), "none of its parameters learns"),
    ],
)
def test_what_cannot_be_clipped_is_refused(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Clipper(Task(make()))((torch.randn(ROWS, 6),))
