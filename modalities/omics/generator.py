"""Draws tumours of all assays from trained weights, in blocks of a fixed size."""

from collections.abc import Sequence

import numpy as np
import torch

from ...core.condition import field_of, select
from ...core.errors import InputError
from ...core.modality import Batch, Record
from ...core.paths import file_name
from ...core.profile import PatientProfile, seed_for
from ...core.training.weights import Weights, restore
from ...core.types import Float32Array, IntArray
from .classes import Classes
from .data import MARKERS
from .decoder import Decoder
from .latent_prior import LatentPrior
from .marginals import Marginals
from .survival import Survival
from .tumours import Layout

BLOCK = 32  # rows of a matrix product: always as many, so that a row's bits do not depend on its companions
Scores = Float32Array


class Sampler:
    """Scores (row, feature) of tumours, an assay at a time."""

    def __init__(self, weights: Weights) -> None:
        card = weights.card
        try:
            self.layout = Layout({name: tuple(features) for name, features in card.model["assays"].items()})
            shape = card.model["decoder"]
        except (KeyError, AttributeError):
            raise InputError(
                f"weights {card.name} (version {card.version or 'unknown'}) do not fit this version's omics model; "
                "train them again"
            ) from None
        self.columns = card.columns
        self.classes = Classes.of_card(card.model, card.columns)
        self.linear = self.classes.covariates(self.columns)
        self.masks = [self.columns.index(f"{field_of(self.columns[i])}?") for i in self.linear]
        self.decoder = Decoder(self.layout.features, len(self.columns), shape["latent"], shape["width"])
        restore(self.decoder, weights, "decoder.")
        self.prior = LatentPrior.restored(weights)
        self.device = next(self.decoder.parameters()).device
        self.factors = weights.tensors["factors"].float().to(self.device)
        self.spread = weights.tensors["spread"].float().numpy()
        hazards = weights.arrays("survival")
        self.survival = Survival(**hazards) if hazards else None
        self.marginals = Marginals(
            **{name: array.astype(np.float32) for name, array in weights.arrays("marginals").items()}
        )

    def scores(
        self, subtype: Sequence[int] | IntArray, code: Scores, seeds: Sequence[int],
        assays: Sequence[str] = (),
    ) -> dict[str, Scores]:  # fmt: skip
        """(row, feature) normal scores of each assay (all by default), each row from its own seed."""
        parts = [slice(start, start + BLOCK) for start in range(0, len(seeds), BLOCK)]
        blocks = [self._block(subtype[part], code[part], seeds[part], assays) for part in parts]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    @torch.inference_mode()
    def _block(
        self, subtype: Sequence[int] | IntArray, code: Scores, seeds: Sequence[int], assays: Sequence[str]
    ) -> dict[str, Scores]:
        rows = len(seeds)
        latent = np.zeros((BLOCK, self.prior.root.shape[1]), np.float32)
        condition = np.zeros((BLOCK, len(self.columns)), np.float32)
        condition[:rows] = code
        for i, (kind, seed) in enumerate(zip(subtype, seeds, strict=True)):
            rng = _rng(seed, "latent")
            known = code[i, self.masks] > 0
            latent[i] = self.prior.draw(int(kind), code[i, self.linear].astype(np.float64), known, rng)
        first = latent.shape[1] - self.factors.shape[1]
        given, drawn = (torch.from_numpy(part).to(self.device) for part in (condition, latent))
        decoded, factors = drawn.tensor_split([first], dim=1)
        mean = (self.decoder(decoded, given) + factors @ self.factors.T).cpu().numpy()
        out = {}
        for name, place in self.layout.slices().items():
            if not assays or name in assays:
                count = place.stop - place.start
                noise = [_rng(seed, name).standard_normal(count, np.float32) for seed in seeds]
                out[name] = mean[:rows, place] + self.spread[place] * np.stack(noise)
        return out


class OmicsGenerator:
    """Samples from trained weights; a class that the profile leaves open is drawn by the training shares.

    `assays` are those to draw, default all that the weights have. Raises InputError for one they lack.
    """

    def __init__(self, weights: Weights, columns: Sequence[str], assays: Sequence[str] = ()) -> None:
        self.sampler, self.columns = Sampler(weights), columns
        symbols = self.sampler.layout.symbols
        for name in symbols:
            file_name(name, f"weights {weights.card.name}: assay")  # which files are called by
        if absent := [name for name in assays if name not in symbols]:
            raise InputError(
                f"omics.assays: the weights {weights.card.name} have no {absent[0]!r}; expected some of: "
                f"{', '.join(symbols)}"
            )
        self.assays = tuple(assays) or tuple(symbols)
        self.symbols = {name: np.array(symbols[name]) for name in self.assays}
        rna = list(symbols.get("rna", ()))
        marked = "rna" in self.assays and weights.card.model.get("breast", True)
        self.markers = {m: rna.index(m) for m in MARKERS if m in rna} if marked else {}

    def sample(self, batch: Batch) -> list[Record]:
        """One tumour a row."""
        if not len(batch):
            return []
        code = select(batch.condition, self.columns, self.sampler.columns)
        classes, subtype = self.sampler.classes, []
        for row, (profile, seed) in enumerate(zip(batch.profiles, batch.seeds, strict=True)):
            subtype.append(self._subtype(classes.place(profile), seed))
            for column, value in classes.encoded(subtype[row]).items():
                if column in self.sampler.columns:
                    code[row, self.sampler.columns.index(column)] = value
        scores = self.sampler.scores(subtype, code, batch.seeds, self.assays)
        slices = self.sampler.layout.slices()
        values = {
            name: self.sampler.marginals.of(slices[name]).to_values(found) for name, found in scores.items()
        }
        return [
            Record(
                {
                    k: a
                    for name in self.assays
                    for k, a in ((name, values[name][row]), (f"{name}_var", self.symbols[name]))
                },
                {
                    **classes.facts(subtype[row]),
                    **{m: round(float(values["rna"][row, i]), 3) for m, i in self.markers.items()},
                    **self._outcome(batch.profiles[row], subtype[row], batch.seeds[row]),
                },
            )
            for row in range(len(batch))
        ]

    def _outcome(self, profile: PatientProfile, subtype: int, seed: int) -> dict[str, float | bool]:
        """Overall survival, if the weights know it."""
        if self.sampler.survival is None:
            return {}
        stage = profile.traits.get("tumor_stage")
        months, died = self.sampler.survival.draw(profile.age, stage, subtype, _rng(seed, "survival"))
        return {"os_months": months, "os_event": died}

    def _subtype(self, asked: int, seed: int) -> int:
        if asked >= 0:
            return asked
        shares = self.sampler.prior.shares
        return int(_rng(seed, "subtype").choice(len(shares), p=shares / shares.sum()))


def _rng(seed: int, stream: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_for(seed, stream, "omics")))
