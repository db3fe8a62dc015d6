"""The omics model: a conditional VAE of normal scores with a class-wise latent law, its training and its sampler."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ...core.condition import FieldDropout, columns_of, conditional_normal, select
from ...core.config import Settings, parse
from ...core.modality import Batch, Conditioner, Record, TrainingSet
from ...core.profile import PatientProfile
from ...core.train import Fit, fit
from ...core.weights import Card, DataUsed, Weights, figures, restore
from .data import MARKERS, Marginals, read_matrix

SUBTYPES = ("LumA", "LumB", "Basal", "Her2", "Normal")


class OmicsModel(Settings):
    """Shape: latent numbers a tumour, hidden width, factors of what the decoder leaves unexplained."""

    latent: int = 64
    width: int = 256
    factors: int = 48


class OmicsTraining(Settings):
    """How the VAE is trained."""

    steps: int = 3000
    batch_size: int = 128
    learning_rate: float = 1e-3
    kl: float = 0.3
    hide: float = 0.1


class Vae(nn.Module):
    """Encoder and decoder of (row, gene) normal scores, both given the condition; a linear path carries most genes."""

    def __init__(self, genes: int, columns: int, shape: OmicsModel) -> None:
        super().__init__()
        w, d = shape.width, shape.latent
        self.encoder = nn.Sequential(
            nn.Linear(genes + columns, w), nn.SiLU(), nn.Dropout(0.2), nn.Linear(w, 2 * d)
        )
        self.bend = nn.Sequential(nn.Linear(d + columns, w), nn.SiLU(), nn.Linear(w, d))
        self.decoder = nn.Linear(d + columns, genes)
        self.log_spread = nn.Parameter(torch.zeros(genes))

    def encode(self, scores: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, (row, latent)."""
        mean, log_variance = self.encoder(torch.cat([scores, condition], dim=1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-8, 4)

    def decode(self, latent: Tensor, condition: Tensor) -> Tensor:
        """(row, gene) mean scores."""
        bent = latent + self.bend(torch.cat([latent, condition], dim=1))
        return self.decoder(torch.cat([bent, condition], dim=1))


class OmicsVae(pl.LightningModule):
    """Kingma and Welling 2014, conditional (Sohn et al. 2015). Batches are (scores, condition)."""

    def __init__(
        self, genes: int, columns: Sequence[str], shape: OmicsModel, training: OmicsTraining
    ) -> None:
        super().__init__()
        self.settings = training
        self.vae = Vae(genes, len(columns), shape)
        self.hide = FieldDropout(columns, training.hide)

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """(row,) negative evidence lower bound, a gene."""
        scores, known = batch
        condition = self.hide(known.cpu()).to(known)
        mean, log_variance = self.vae.encode(scores, condition)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = (scores - self.vae.decode(latent, condition)).float()
        spread = self.vae.log_spread
        likelihood = (0.5 * (error / spread.exp()).square() + spread).sum(1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return (likelihood + self.settings.kl * kl) / scores.shape[1]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self.losses(batch).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=self.settings.learning_rate, weight_decay=1e-3)


@dataclass(frozen=True)
class Law:
    """How tumours are spread in the latent space: a normal given the condition, and factors of the residue."""

    line: NDArray[np.float64]
    root: NDArray[np.float64]
    factors: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        latent: NDArray[np.float64],
        residue: NDArray[np.float64],
        code: NDArray[np.float32],
        factors: int,
    ) -> "Law":
        """latent (row, d) encoder means; residue (row, gene) scores less their decoding."""
        line, root = conditional_normal(code, latent, ridge=1.0, shrink=0.05)
        _, s, vt = np.linalg.svd(residue - residue.mean(0), full_matrices=False)
        load = (s[:factors, None] * vt[:factors] / np.sqrt(len(residue))).T  # (gene, factor)
        rest = np.square(residue).mean(0) - np.square(load).sum(1)
        return cls(line, root, load, np.sqrt(np.maximum(rest, 1e-3)))


def train(
    data: Sequence[TrainingSet], conditioner: Conditioner, network: Mapping[str, Any],
    training: Mapping[str, Any], how: Fit,
) -> Weights:  # fmt: skip
    """Normal scores, VAE, then the latent law from the aggregated posterior. Public data only."""
    shape = parse(OmicsModel, dict(network), "model.network")
    settings = parse(OmicsTraining, dict(training), "model.training")
    read = [read_matrix(part) for part in data]
    symbols = read[0][1]
    matrix = np.concatenate([values for values, _ in read])
    profiles = [profile for part in data for profile in part.profiles]
    columns = columns_of(conditioner.columns, [f for part in data for f in part.fields])
    code = select(conditioner.encode(profiles), conditioner.columns, columns)
    marginals = Marginals.fit(matrix)
    scores = torch.from_numpy(marginals.to_scores(matrix, np.random.default_rng(how.seed)))
    torch.manual_seed(how.seed)
    module = OmicsVae(len(symbols), columns, shape, settings)
    outcome = fit(
        module, TensorDataset(scores, torch.from_numpy(code)), how,
        name="omics", steps=settings.steps, batch_size=settings.batch_size, ema=0.99,
    )  # fmt: skip
    with torch.no_grad():
        latent = module.vae.encode(scores, torch.from_numpy(code))[0]
        residue = scores - module.vae.decode(latent, torch.from_numpy(code))
    law = Law.fit(latent.double().numpy(), residue.double().numpy(), code, shape.factors)
    decoder = {k: v for k, v in module.vae.state_dict().items() if not k.startswith("encoder")}
    tensors = {f"vae.{k}": v.half() for k, v in decoder.items()}
    tensors |= {f"law.{k}": torch.from_numpy(v).half() for k, v in vars(law).items()}
    tensors |= {f"marginals.{k}": torch.from_numpy(v).half() for k, v in vars(marginals).items()}
    subtypes = [p.traits.get("pam50") for p in profiles]
    used = [
        DataUsed(**vars(part.source), rows=len(part), patients=len({p.patient_id for p in part.profiles}))
        for part in data
    ]
    card = Card(
        name="omics", modality="omics", kind="conditional VAE", data=used, privacy="public", steps=outcome.steps,
        seconds=round(outcome.seconds), columns=columns,
        model={
            "network": shape.model_dump(), "assay": "rna", "genes": symbols.tolist(),
            "subtype_shares": {s: round(subtypes.count(s) / len(subtypes), 4) for s in SUBTYPES},
        },
        figures=figures(training_loss=outcome.loss),
    )  # fmt: skip
    return Weights(tensors, card)


class OmicsGenerator:
    """Tumour expression from trained weights, one row at a time."""

    def __init__(self, weights: Weights, columns: Sequence[str]) -> None:
        self.card, self.columns = weights.card, columns
        model = weights.card.model
        shape = OmicsModel(**model["network"])
        self.genes = np.array(model["genes"])
        self.shares = model["subtype_shares"]
        self.vae = Vae(len(self.genes), len(self.card.columns), shape)
        restore(self.vae, weights, "vae.", strict=False)  # the encoder stays at home
        self.law = Law(**{k: weights.tensors[f"law.{k}"].double().numpy() for k in Law.__dataclass_fields__})
        self.marginals = Marginals(
            *(weights.tensors[f"marginals.{k}"].float().numpy() for k in ("undetected", "quantiles"))
        )
        self.markers = {m: int(np.flatnonzero(self.genes == m)[0]) for m in MARKERS if m in self.genes}

    def sample(self, batch: Batch) -> list[Record]:
        """One tumour a row; a subtype that the profile leaves open is drawn by the training shares."""
        code = select(batch.condition, self.columns, self.card.columns)
        return [self._one(p, c, s) for p, c, s in zip(batch.profiles, code, batch.seeds, strict=True)]

    @torch.inference_mode()
    def _one(self, profile: PatientProfile, code: NDArray[np.float32], seed: int) -> Record:
        rng = np.random.Generator(np.random.PCG64(seed))
        subtype = profile.traits.get("pam50")
        if subtype is None:
            shares = np.array([self.shares[s] for s in SUBTYPES])
            subtype = SUBTYPES[int(rng.choice(len(SUBTYPES), p=shares / shares.sum()))]
            code = code.copy()
            for column in (f"pam50={subtype}", "pam50?"):
                code[self.card.columns.index(column)] = 1.0
        law = self.law
        latent = law.line @ np.append(code, 1.0) + law.root @ rng.standard_normal(len(law.root))
        mean = self.vae.decode(torch.from_numpy(latent).float()[None], torch.from_numpy(code)[None])[0]
        scores = mean.double().numpy() + law.factors @ rng.standard_normal(law.factors.shape[1])
        scores += law.spread * rng.standard_normal(len(law.spread))
        values = self.marginals.to_values(scores)
        facts = {"pam50": subtype, **{m: round(float(values[i]), 3) for m, i in self.markers.items()}}
        return Record({"rna": values, "rna_var": self.genes}, facts)
