"""Adversarial training: a generator that starts at a prior, and critics, by relativistic pairing with R1 and R2.

The loss compares a real sample with a drawn one of the same row, softplus(D(drawn) - D(real)), and is stable with
gradient penalties on both (Huang et al., "The GAN is dead; long live the GAN", NeurIPS 2024). Validation decides which
generator is kept: an average of its weights is judged now and then, the start as well, so that a training that does
not help leaves the prior as it was.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ..config import Settings

Views = list[Tensor]  # what each critic sees of a batch of samples, (row, ...) each
Judge = Callable[
    [nn.Module], float
]  # of a generator, on patients that none of it learns from; less is better


class AdversarialTraining(Settings):
    """Settings of an adversarial training.

    `penalty` is the weight of the squared gradients of critics (gamma of R1 and R2), `penalty_every` how many steps
    share one of it (lazy regularisation, Karras et al. 2020), `noise` the standard deviation of
    what is added to views, `judge_every` how many steps lie between judgements, of which `patience` may pass
    without a better one. `lead` is how many steps the critics take before the generator takes its first.
    """

    steps: int = Field(default=3000, ge=1)
    batch_size: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=3e-4, gt=0)
    critic_rate: float = Field(default=1e-3, gt=0)
    penalty: float = Field(default=0.2, ge=0)
    penalty_every: int = Field(default=1, ge=1)
    noise: float = Field(default=0.1, ge=0)
    ema: float = Field(default=0.998, ge=0, lt=1)
    lead: int = Field(default=0, ge=0)
    judge_every: int = Field(default=500, ge=1)
    patience: int = Field(default=4, ge=1)


class Game(Protocol):
    """What plays, as VitalsGame and ImageGame do. A batch is what rows of the data hold; a sample may be anything."""

    generator: nn.Module
    critics: nn.ModuleList

    def real(self, batch: Sequence[Tensor]) -> Any:
        """The samples of patients."""

    def drawn(self, generator: nn.Module, batch: Sequence[Tensor]) -> Any:
        """As many samples of the generator, for the same rows; gradients reach the generator."""

    def views(self, sample: Any, batch: Sequence[Tensor]) -> Views:
        """What each critic sees of samples, scaled to about unit spread."""

    def cost(self, sample: Any, batch: Sequence[Tensor]) -> Tensor | float:
        """What the generator pays for its samples beside what critics say."""


def pairing(real: Tensor, drawn: Tensor) -> Tensor:
    """Relativistic loss of the critics, from scores (row,) of pairs; with real and drawn exchanged, the generator's."""
    return functional.softplus(drawn - real).mean()


def penalty(critic: nn.Module, view: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (row,) of a view, and the mean squared norm of their gradient by it (R1 of real, R2 of drawn samples)."""
    view = view.detach().requires_grad_()
    scores = critic(view).float()
    (slope,) = torch.autograd.grad(scores.sum(), view, create_graph=True)
    return scores, slope.flatten(1).square().sum(1).mean()


class Adversarial(pl.LightningModule):
    """Two optimisers in turns. `augment` is done to views of both sides alike, before critics see them.

    Fit it with ema=None: it has its own average, and `best`, the generator that was judged best. A step of the
    generator counts as one of the fit.
    """

    best_score: Tensor

    def __init__(
        self, game: nn.Module, settings: AdversarialTraining, judge: Judge | None = None,
        augment: Callable[[Views], Views] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.automatic_optimization = False
        self.game, self.settings, self._judge = game, settings, judge
        self.augment = augment or self._noisy
        plays: Any = game
        self.average: nn.Module = deepcopy(plays.generator).requires_grad_(False)
        self.best: nn.Module = deepcopy(self.average)
        self.register_buffer("best_score", torch.tensor(torch.inf))
        self.finished, self._poor = False, 0
        self.scores: list[tuple[int, float]] = []

    def _noisy(self, views: Views) -> Views:
        return [view + self.settings.noise * torch.randn_like(view) for view in views]

    def critic_loss(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Loss of the critics with its penalties, and without."""
        game: Any = self.game
        with torch.no_grad():
            drawn = self.augment(game.views(game.drawn(game.generator, batch), batch))
            real = self.augment(game.views(game.real(batch), batch))
        total = plain = torch.zeros((), device=self.device)
        every = self.settings.penalty_every
        for critic, ours, theirs in zip(game.critics, drawn, real, strict=True):
            if self.global_step % every:
                loss = pairing(critic(theirs).float(), critic(ours).float())
                total = total + loss
            else:
                (high, first), (low, second) = penalty(critic, theirs), penalty(critic, ours)
                loss = pairing(high, low)
                total = total + loss + every * self.settings.penalty / 2 * (first + second)
            plain = plain + loss.detach() / len(game.critics)
        return total, plain

    def generator_loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Loss of the generator, the critics' with both sides exchanged, and its cost."""
        game: Any = self.game
        sample = game.drawn(game.generator, batch)
        drawn = self.augment(game.views(sample, batch))
        with torch.no_grad():
            real = self.augment(game.views(game.real(batch), batch))
        total = torch.zeros((), device=self.device) + game.cost(sample, batch)
        for critic, ours, theirs in zip(game.critics, drawn, real, strict=True):
            total = total + pairing(critic(ours).float(), critic(theirs).detach().float())
        return total

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        pair: Any = self.optimizers()
        generator, critics = pair
        game: Any = self.game
        self.toggle_optimizer(critics)
        total, plain = self.critic_loss(batch)
        critics.zero_grad()
        self.manual_backward(total)
        critics.optimizer.step()  # uncounted: a step of the fit is one of both
        self.untoggle_optimizer(critics)
        self.toggle_optimizer(generator)
        loss = self.generator_loss(batch)
        generator.zero_grad()
        if self.global_step >= self.settings.lead:
            self.manual_backward(loss)
            nn.utils.clip_grad_norm_(game.generator.parameters(), 5.0)
        generator.step()
        self.untoggle_optimizer(generator)
        self._follow(game.generator)
        self.log("loss", plain)  # log 2 where the critics cannot tell

    @torch.no_grad()
    def _follow(self, generator: nn.Module) -> None:
        """A step of the average, which forgets its start sooner at first."""
        done = self.global_step
        keep = min(self.settings.ema, done / (done + 20))
        for slow, fast in zip(
            self.average.state_dict().values(), generator.state_dict().values(), strict=True
        ):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - keep)
            else:
                slow.copy_(fast)

    def on_train_start(self) -> None:
        if self._judge is not None and not bool(torch.isfinite(self.best_score)):
            self.log("judged", self._consider())

    def on_train_batch_end(self, *_: Any) -> None:
        if self._judge is None or self.global_step % self.settings.judge_every:
            return
        self.log("judged", self._consider())
        if self._poor >= self.settings.patience:
            self.finished = True
            self.trainer.should_stop = True

    def on_train_end(self) -> None:
        if self._judge is None:
            self.best.load_state_dict(self.average.state_dict())
        elif not self.scores or self.scores[-1][0] != self.global_step:
            self._consider()

    @torch.no_grad()
    def _consider(self) -> float:
        """Judge the average; the best one yet is kept."""
        assert self._judge is not None
        score = self._judge(self.average.eval())
        self.scores.append((self.global_step, score))
        self._poor += 1
        if score < float(self.best_score):
            self.best_score.fill_(score)
            self.best.load_state_dict(self.average.state_dict())
            self._poor = 0
        return score

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam without momentum, as moving opponents ask."""
        game: Any = self.game
        sides = ((game.generator, self.settings.learning_rate), (game.critics, self.settings.critic_rate))
        return [torch.optim.Adam(part.parameters(), lr=rate, betas=(0.0, 0.99)) for part, rate in sides]
