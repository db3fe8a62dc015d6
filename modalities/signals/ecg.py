"""The ECG model: a rhythm prior places the beats, an adversarially trained network draws the waves around them."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...core.condition import FieldDropout
from ...core.config import Settings
from .data import FREE, MODEL_RATE, Beats


class EcgModel(Settings):
    """Shape of the networks: `latent` numbers describe a heart, `noise` white channels drive what varies."""

    latent: int = 24
    width: int = 64
    noise: int = 8
    mixtures: int = 6
    seconds: float = 10.0


class EcgTraining(Settings):
    """Two phases: likelihood (a variational autoencoder), then adversarial on top of it."""

    likelihood_steps: int = 1500
    adversarial_steps: int = 3000
    share: float = 0.35  # of the time, for the likelihood phase
    batch_size: int = 32
    crop: int = 1250  # samples
    learning_rate: float = 1e-3
    adversarial_rate: float = 2e-4
    kl: float = 0.02
    anchor: float = 0.5
    hide: float = 0.15


AFTER = np.concatenate([np.arange(-0.06, 0.07, 0.01), np.arange(0.08, 0.2, 0.02), np.arange(0.22, 0.9, 0.04)])
BEFORE = np.arange(0.04, 0.36, 0.02)
PHASE = len(AFTER) + len(BEFORE) + 14 + 3


def _bumps(seconds: Tensor, centres: NDArray[np.float64]) -> Tensor:
    """(row, centre, sample): a Gaussian bump a centre, as wide as the gap to its neighbours."""
    where = torch.as_tensor(centres, dtype=seconds.dtype, device=seconds.device)
    width = torch.gradient(where)[0].abs()[None, :, None]
    return torch.exp(-0.5 * ((seconds[:, None] - where[None, :, None]) / width) ** 2)


def phase(peaks: Sequence[NDArray[np.int64]], fibrillation: Tensor, start: Tensor, length: int) -> Tensor:
    """(row, PHASE, length) where in the beat each sample is, from the R peaks alone.

    Bumps in the time since the last R peak and (silent in atrial fibrillation, which has no P wave) until
    the next; bumps in time since R over the root of the interval (Bazett), which the T wave follows;
    the previous and present interval, and fibrillation. start: (row,) first sample of each window.
    """
    rows = len(peaks)
    since, until, before, now = (torch.zeros(rows, length) for _ in range(4))
    for row, own in enumerate(peaks):
        at = np.arange(int(start[row]), int(start[row]) + length)
        gaps = np.diff(own)
        typical = int(np.median(gaps)) if len(gaps) else MODEL_RATE
        padded = np.concatenate(
            [[own[0] - 2 * typical, own[0] - typical], own, [own[-1] + typical, own[-1] + 2 * typical]]
        )
        # a beat begins a little before its peak, so that the QRS is whole
        last = np.clip(
            np.searchsorted(padded, at + int(0.06 * MODEL_RATE), side="right") - 1, 1, len(padded) - 2
        )
        since[row] = torch.from_numpy((at - padded[last]) / MODEL_RATE)
        until[row] = torch.from_numpy((padded[last + 1] - at) / MODEL_RATE)
        before[row] = torch.from_numpy((padded[last] - padded[last - 1]) / MODEL_RATE)
        now[row] = torch.from_numpy((padded[last + 1] - padded[last]) / MODEL_RATE)
    present = (1 - fibrillation)[:, None, None]
    slow = since / now.clamp(0.3, 1.8).sqrt()
    flag = fibrillation[:, None].expand(rows, length)
    extras = torch.stack([(before - 0.85).clamp(-1, 1), (now - 0.85).clamp(-1, 1), flag], dim=1)
    return torch.cat(
        [
            _bumps(since, AFTER),
            present * _bumps(until, BEFORE),
            _bumps(slow, np.linspace(0.1, 0.62, 14)),
            extras,
        ],
        dim=1,
    )


class Waves(nn.Module):
    """The generator: phase, heart and noise to eight leads.

    forward(phase (row, PHASE, sample), heart (row, latent + column), noise (row, noise, sample))
    -> template (row, 8, sample), spread (row, 8, sample) and the drawn signal, all in mV.
    """

    def __init__(self, columns: int, shape: EcgModel) -> None:
        super().__init__()
        heart, width, leads = shape.latent + columns, shape.width, len(FREE)
        self.inward = nn.Conv1d(PHASE, width, 1)
        self.film = nn.ModuleList(nn.Linear(heart, 2 * width) for _ in range(4))
        self.mix = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2) if k % 2 else nn.Conv1d(width, width, 1) for k in range(4)
        )
        self.template = nn.Conv1d(width, leads, 1)
        self.gain = nn.Linear(heart, leads)
        self.colour = nn.Sequential(
            nn.Conv1d(shape.noise, 4 * shape.mixtures, 25, padding=12),
            nn.SiLU(),
            nn.Conv1d(4 * shape.mixtures, shape.mixtures, 25, padding=12),
        )
        self.gate = nn.Conv1d(width, leads * shape.mixtures, 1)
        self.floor = nn.Linear(heart, leads)
        self.mixtures = shape.mixtures

    def forward(self, where: Tensor, heart: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.inward(where)
        for film, mix in zip(self.film, self.mix, strict=True):
            scale, shift = film(heart)[..., None].chunk(2, dim=1)
            h = h + mix(functional.silu((1 + scale) * h + shift))
        template = self.template(h) * self.gain(heart).exp()[..., None]
        rows, _, length = template.shape
        gate = self.gate(h).view(rows, len(FREE), self.mixtures, length) * 0.1
        level = functional.softplus(self.floor(heart) - 3)[..., None]
        colour = functional.instance_norm(self.colour(noise))  # unit variance, so that gate sets the spread
        residue = level * torch.einsum("rlms,rms->rls", gate, colour)
        spread = level * (gate.square().sum(2) + 0.05).sqrt()
        return template, spread, template + residue


class Reader(nn.Module):
    """The encoder: leads and phase to mean and log variance of the heart's latent numbers."""

    def __init__(self, columns: int, shape: EcgModel) -> None:
        super().__init__()
        w = shape.width
        self.body = nn.Sequential(
            nn.Conv1d(len(FREE) + PHASE, w, 9, stride=2, padding=4), nn.SiLU(),
            nn.Conv1d(w, w, 9, stride=4, padding=4), nn.SiLU(),
            nn.Conv1d(w, w, 9, stride=4, padding=4), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(2 * w, 2 * shape.latent)

    def forward(self, leads: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(torch.cat([leads, where], dim=1))
        mean, log_variance = self.head(torch.cat([h.mean(-1), h.amax(-1)], dim=1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-8, 4)


class Critic(nn.Module):
    """The discriminator: does this signal, with beats here and of this patient, look real? At two scales."""

    def __init__(self, columns: int, width: int = 64) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.scales = nn.ModuleList()
        for _ in range(2):
            body = nn.Sequential(
                norm(nn.Conv1d(2 * len(FREE) + PHASE, width, 15, stride=2, padding=7)), nn.LeakyReLU(0.2),
                norm(nn.Conv1d(width, width, 15, stride=2, padding=7)), nn.LeakyReLU(0.2),
                norm(nn.Conv1d(width, 2 * width, 9, stride=4, padding=4)), nn.LeakyReLU(0.2),
                norm(nn.Conv1d(2 * width, 2 * width, 9, stride=4, padding=4)), nn.LeakyReLU(0.2),
            )  # fmt: skip
            self.scales.append(body)
        self.score = nn.ModuleList(norm(nn.Conv1d(2 * width, 1, 1)) for _ in range(2))
        self.match = nn.ModuleList(norm(nn.Linear(columns, 2 * width)) for _ in range(2))

    def forward(self, leads: Tensor, where: Tensor, condition: Tensor) -> list[Tensor]:
        fine = functional.pad(leads.diff(dim=-1), (1, 0)) * 5  # steps show noise that amplitudes hide
        x = torch.cat([leads, fine, where], dim=1)
        scores = []
        for body, score, match in zip(self.scales, self.score, self.match, strict=True):
            h = body(x)
            scores.append(score(h)[:, 0] + (h * match(condition)[..., None]).mean(1))
            x = functional.avg_pool1d(x, 2)
        return scores


class EcgGan(pl.LightningModule):
    """A variational autoencoder whose decoder goes on as the generator of a conditional GAN.

    Phase one maximises the likelihood of real windows (template and spread) given the encoder's latent
    (Kingma and Welling 2014); phase two is VAE-GAN (Larsen et al. 2016) with a hinge loss. Batches are row indices
    into `records`, condition and fibrillation.
    """

    def __init__(
        self, columns: Sequence[str], shape: EcgModel, training: EcgTraining, records: Sequence[Beats],
        condition: Tensor, fibrillation: Tensor,
    ) -> None:  # fmt: skip
        super().__init__()
        self.automatic_optimization = False
        self.shape, self.settings = shape, training
        self.waves = Waves(len(columns), shape)
        self.reader = Reader(len(columns), shape)
        self.critic = Critic(len(columns))
        self.hide = FieldDropout(columns, training.hide)
        self.records, self.condition, self.fibrillation = records, condition, fibrillation
        self.adversarial = False

    def window(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Random crops of real records: leads (row, 8, crop) mV, phase, condition."""
        crop, length = self.settings.crop, self.records[0].leads.shape[1]
        start = torch.randint(length - crop + 1, (len(rows),))
        own = [self.records[i] for i in rows.tolist()]
        leads = torch.stack(
            [torch.from_numpy(r.leads[:, s : s + crop]) for r, s in zip(own, start.tolist(), strict=True)]
        )
        where = phase([r.peaks for r in own], self.fibrillation[rows], start, crop)
        return leads.to(self.device), where.to(self.device), self.condition[rows].to(self.device)

    def noise(self, rows: int, length: int) -> Tensor:
        """White noise for the generator."""
        return torch.randn(rows, self.shape.noise, length, device=self.device)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        leads, where, known = self.window(batch[0])
        condition = self.hide(known.cpu()).to(known)
        if self.adversarial:
            self._adversarial(leads, where, condition)
        else:
            self._likelihood(leads, where, condition)

    def _likelihood(self, leads: Tensor, where: Tensor, condition: Tensor) -> None:
        generator, _ = self.optimizers()  # type: ignore[attr-defined]
        loss = self._elbo(leads, where, condition)[0]
        generator.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.waves.parameters(), 5.0)
        generator.step()
        self.log("loss", loss)

    def _elbo(self, leads: Tensor, where: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.reader(leads, where)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        heart = torch.cat([z, condition], dim=1)
        template, spread, drawn = self.waves(where, heart, self.noise(*leads.shape[::2]))
        error = (leads - template).float()
        spread = spread.float()
        robust = functional.huber_loss(error / spread, torch.zeros_like(error), delta=3.0, reduction="none")
        likelihood = (robust + spread.log()).mean() + 5 * error.abs().mean()
        return likelihood + self.settings.kl * kl / 10, heart, drawn

    def _adversarial(self, leads: Tensor, where: Tensor, condition: Tensor) -> None:
        generator, critic = self.optimizers()  # type: ignore[attr-defined]
        anchor, _, drawn = self._elbo(leads, where, condition)
        real = self.critic(leads, where, condition)
        fake = self.critic(drawn.detach(), where, condition)
        verdict = torch.stack([functional.relu(1 - r).mean() for r in real]).sum()
        verdict = verdict + torch.stack([functional.relu(1 + f).mean() for f in fake]).sum()
        critic.zero_grad()
        self.manual_backward(verdict)
        critic.step()
        fooled = -torch.stack([f.mean() for f in self.critic(drawn, where, condition)]).sum()
        generator.zero_grad()
        self.manual_backward(fooled + self.settings.anchor * anchor)
        nn.utils.clip_grad_norm_(self.waves.parameters(), 5.0)
        generator.step()
        self.log_dict({"loss": anchor.detach(), "critic": verdict.detach()})

    def configure_optimizers(self) -> Any:
        rate = self.settings.adversarial_rate if self.adversarial else self.settings.learning_rate
        betas = (0.5, 0.99) if self.adversarial else (0.9, 0.99)
        generator = torch.optim.AdamW(
            [*self.waves.parameters(), *self.reader.parameters()], lr=rate, betas=betas
        )
        critic = torch.optim.AdamW(self.critic.parameters(), lr=2 * rate, betas=betas)
        return [generator, critic]

    @torch.no_grad()
    def hearts(self) -> NDArray[np.float64]:
        """(record, latent) encoder means of all records, whole windows."""
        out = []
        for i, record in enumerate(self.records):
            where = phase(
                [record.peaks],
                self.fibrillation[i : i + 1],
                torch.zeros(1, dtype=torch.long),
                record.leads.shape[1],
            )
            out.append(
                self.reader(torch.from_numpy(record.leads)[None].to(self.device), where.to(self.device))[0]
            )
        return torch.cat(out).double().cpu().numpy()
