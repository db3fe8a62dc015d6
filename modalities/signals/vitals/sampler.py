"""Draw charts from the weights of the vitals model."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ....core.condition import field_of, select
from ....core.config import parse
from ....core.modality import Batch, Record
from ....core.profile import PatientProfile
from ....core.training.weights import Weights, restore
from ....core.types import Float32Array, IntArray
from ..channels import chart_facts
from ..data import baselines
from .baseline_shift import coherent, shifted
from .chart_model import ChartModel, Noise
from .choice import PREFIX, PROPOSALS, Choice, shape_figures
from .moment_matching import with_drift
from .network import DRAWS, TRENDS, VitalsModel, VitalsNet
from .quantizer import to_readings
from .refiner import Refiner, RefinerShape, outside_levels, refined
from .trajectory import SEPSIS, Levels, Trajectory
from .variation import Chance, variants

COPULA = "chart"  # prefix of the tensors of weights without a network
REFINED = ", adversarial refiner"  # what a card's kind ends with where there is one
REFINER = "refiner"  # prefix of its tensors, beside those of the prior
ADDED = ("refiner", "refines", "refiner_known", "variants")  # to what a card says of the prior
CHOSEN = ", choosing critic"  # likewise of a kind, where a critic chooses among draws


def without_refiner(weights: Weights) -> Weights:
    """The prior of weights that have a refiner or a choosing critic."""
    added = (f"{REFINER}.", f"{PREFIX}.")
    prior = {name: tensor for name, tensor in weights.tensors.items() if not name.startswith(added)}
    said = {name: value for name, value in weights.card.model.items() if name not in ADDED}
    kind = weights.card.kind.removesuffix(CHOSEN).removesuffix(REFINED)
    return Weights(prior, weights.card.model_copy(update={"model": said, "kind": kind}))


def levels_of(weights: Weights) -> Levels:
    """Weights that say which baselines real charts know were made by users' data."""
    return "chart" if "shortest" in weights.card.model else "profile"


class VitalsSampler:
    """Charts from trained weights, in blocks of fixed size, so that rows cannot touch each other.

    `hours` is how many rows of time are drawn, as many as in training if not said. A stay may end before (its later
    rows stay empty) unless `ends` is false, which asks for hours the data do not have of stays that end early.
    `levels` says where a stay's medians come from: `profile` moves them to the profile's baselines, `chart` leaves
    them as the network draws them, for whom it does not know any baseline. `refine` is whether a refiner that the
    weights have moves readings, None: as their card says; without, the prior draws alone. `critic` is whether a
    choosing critic that they have picks one of PROPOSALS stays of a row and their variants, where the first lasts the
    hours of training; of fewer hours the prior draws.
    """

    ROWS = 64

    def __init__(
        self, weights: Weights, columns: Sequence[str], trajectory: Trajectory | None = None,
        hours: int | None = None, ends: bool = True, levels: Levels = "profile",
        refine: bool | None = None, critic: bool = True,
    ) -> None:  # fmt: skip
        self.card, self.columns = weights.card, columns
        self.shape = parse(VitalsModel, weights.card.model, f"weights {weights.card.name}: model")
        self.trajectory, self.hours, self.ends = trajectory or Trajectory(), hours or self.shape.hours, ends
        self.levels = levels
        self.lattice = self.shape.lattice
        self.copula = ChartModel.read(found) if (found := weights.arrays(COPULA)) else None
        if self.copula is None:
            self.net = VitalsNet(len(weights.card.columns), self.shape)
            restore(self.net, without_refiner(weights))
        self.choice = Choice.of(weights.tensors) if critic and self.hours >= self.shape.hours else None
        self.refiner: Refiner | None = None
        if self.shape.refiner is not None and (self.shape.refines if refine is None else refine):
            known = self.shape.refiner_known
            self.outside = outside_levels(weights.card.columns, self.lattice) if known else []
            shape = parse(RefinerShape, self.shape.refiner, f"weights {weights.card.name}: model.refiner")
            self.refiner = Refiner(len(self.outside), shape, self.lattice, self.shape.hours)
            restore(self.refiner, weights, f"{REFINER}.")
        self._fields = [channel.field for channel in self.lattice.channels if channel.field]
        self._said = chart_facts(self.lattice.channels, self.shape.step_hours)

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row: "vitals" (step, channel), coherent; facts: hours, trajectory, channels.

        With levels of the chart also baseline, the medians by profile field.
        """
        self.trajectory.check(batch.profiles)
        code = select(batch.condition, self.columns, self.card.columns)
        code, onset = self.trajectory.steer(code, self.card.columns)
        known = [
            self._known(seed, profile) for seed, profile in zip(batch.seeds, batch.profiles, strict=True)
        ]
        for row, fields in enumerate(known):
            hidden = [
                i
                for i, c in enumerate(self.card.columns)
                if (f := field_of(c)) in self._fields and f not in fields
            ]
            code[row, hidden] = 0
        return [
            record
            for start in range(0, len(batch), self.ROWS)
            for record in self._block(
                batch,
                slice(start, min(start + self.ROWS, len(batch))),
                code,
                onset / self.shape.step_hours,
                known,
            )
        ]

    def _known(self, seed: int, profile: PatientProfile) -> set[str]:
        """The baselines that this stay is drawn by: all, as many as real charts know, or none.

        A profile that does not know all of them is left as it is.
        """
        if self.levels == "chart":
            return set()
        if not self.shape.known or any(name not in profile.measurements for name in self._fields):
            return set(self._fields)
        random = np.random.Generator(np.random.PCG64([seed, 7]))
        sets, shares = zip(*self.shape.known.items(), strict=True)
        place = np.searchsorted(np.cumsum(shares), random.random() * sum(shares))
        return set(sets[min(int(place), len(sets) - 1)].split("+"))

    def _block(
        self, batch: Batch, rows: slice, code: Float32Array, onset: Float32Array, known: Sequence[set[str]]
    ) -> list[Record]:
        """Up to ROWS records. A block has always as many rows: the sums of a product depend on its shape."""
        seeds, profiles, lattice = batch.seeds[rows], batch.profiles[rows], self.lattice
        context = np.zeros((self.ROWS, code.shape[1]), dtype=np.float32)
        context[: len(seeds)] = code[rows]
        levels = [
            {name: value for name, value in profile.measurements.items() if name in fields}
            for profile, fields in zip(profiles, known[rows], strict=True)
        ]
        stays, length = self._proposals(
            context, seeds, onset[rows], levels, 1 if self.choice is None else PROPOSALS
        )
        chosen = stays[0]
        if self.choice is not None:
            found = self._chosen(stays, length, seeds, [profile.has(SEPSIS) for profile in profiles])
            chosen = [shifted(stay, level, lattice) for stay, level in zip(found, levels, strict=True)]
        step, out = self.shape.step_hours, []
        for stay in chosen:
            hours = len(stay)
            table = np.full((self.hours, lattice.count), np.nan, dtype=np.float32)
            table[:hours] = coherent(self.trajectory.apply(stay, lattice, step), lattice)
            facts = {"hours": hours, **self.trajectory.facts(self.shape.first_onset), **self._said}
            if self.levels == "chart":
                facts["baseline"] = baselines(table, lattice.channels)
            out.append(Record({"vitals": table}, facts))
        return out

    def _proposals(
        self, context: Float32Array, seeds: Sequence[int], onset: Float32Array,
        levels: Sequence[Mapping[str, float]], count: int,
    ) -> tuple[list[list[Float32Array]], IntArray]:  # fmt: skip
        """(proposal, row) stays at their profile's levels, and (proposal, row) how long each lasts."""
        lattice, ends = self.lattice, self.ends
        charts: Sequence[Sequence[Float32Array] | Float32Array]
        if self.copula is not None:
            noise = Noise.of(seeds, self.ROWS, max(self.hours, self.shape.hours), lattice.count)
            drawn, lasts = self.copula.draw(
                context, self.card.columns, noise, lattice, self.shape.hours, self.shape.shortest
            )
            charts, length = [drawn], np.asarray(lasts)[None]
        else:
            charts, length = self._drawn(context, seeds, onset, count)
        length = length[:, : len(seeds)] if ends else np.full((len(charts), len(seeds)), self.hours)
        out = []
        for k, own in enumerate(charts):
            stays = [
                shifted(own[row][: min(int(length[k, row]), self.hours)], level, lattice)
                for row, level in enumerate(levels)
            ]
            if self.refiner is not None:
                moved = self._refined(self.refiner, stays, context, seeds, k)
                stays = [shifted(stay, level, lattice) for stay, level in zip(moved, levels, strict=True)]
            out.append(stays)
        return out, length

    def _chosen(
        self, stays: Sequence[Sequence[Float32Array]], length: IntArray, seeds: Sequence[int], septic: Sequence[bool]
    ) -> list[Float32Array]:  # fmt: skip
        """(row,) the stay that is drawn: the first where it ends within the hours of training, else the critic's.

        The critic chooses among the proposals and variants of each. Both are worked out in blocks of fixed shape.
        """
        assert self.choice is not None
        day, rows = self.shape.hours, len(seeds)
        randoms = [np.random.Generator(np.random.PCG64([seed, 13])) for seed in seeds]
        blocks, odds = [], []
        for own, lasts in zip(stays, length, strict=True):
            block = np.full((self.ROWS, self.hours, self.lattice.count), np.nan, dtype=np.float32)
            for row, stay in enumerate(own):
                block[row, : len(stay)] = coherent(stay, self.lattice)
            made = [block]
            for _ in range(self.shape.variants):
                chance = Chance.of(randoms, self.hours, self.lattice.count)
                made.append(variants(block, chance.padded(self.ROWS), day, self.lattice))
            for part in made:
                score = self.choice(
                    shape_figures(part[:, :day], self.lattice)[:rows], np.array(septic, dtype=bool)
                )
                odds.append(np.where(lasts >= day, score, -np.inf))
                blocks.append(part)
        scores = np.array(odds)
        out = []
        for row, random in enumerate(randoms):
            best = int((scores[:, row] + random.gumbel(size=len(scores))).argmax())
            best = best if length[0, row] >= day else 0
            lasts = min(int(length[best // (1 + self.shape.variants), row]), self.hours)
            out.append(blocks[best][row, :lasts])
        return out

    def _refined(
        self, refiner: Refiner, stays: Sequence[Float32Array], context: Float32Array, seeds: Sequence[int],
        proposal: int = 0,
    ) -> list[Float32Array]:  # fmt: skip
        """The stays as the refiner moves them, in one block of fixed shape; the noise of each is its seed's."""
        lattice = self.lattice
        block = np.full((self.ROWS, self.hours, lattice.count), np.nan, dtype=np.float32)
        latent = np.zeros((self.ROWS, refiner.shape.latent), dtype=np.float32)
        noise = np.zeros(block.shape, dtype=np.float32)
        dither = np.zeros((self.ROWS, 1, lattice.count), dtype=np.float32)
        for row, (stay, seed) in enumerate(zip(stays, seeds, strict=True)):
            random = np.random.Generator(np.random.PCG64([seed, 11, *_later(proposal)]))
            block[row, : len(stay)] = stay
            latent[row] = random.standard_normal(latent.shape[1], dtype=np.float32)
            dither[row, 0] = random.random(lattice.count, dtype=np.float32) - 0.5
            noise[row] = random.standard_normal(noise.shape[1:], dtype=np.float32)
        made = refined(refiner, block, context[:, self.outside], latent, noise, dither)
        return [made[row, : len(stay)] for row, stay in enumerate(stays)]

    def _drawn(
        self, context: Float32Array, seeds: Sequence[int], onset: Float32Array, count: int
    ) -> tuple[list[list[Float32Array]], IntArray]:
        """(proposal, row) readings of the network, (hour, channel) each, drift included, and how long they last."""
        lattice, rows = self.lattice, self.ROWS
        starts = np.full(rows, np.nan, dtype=np.float32)
        starts[: len(seeds)] = onset
        uniforms = np.full((count, rows, self.hours, lattice.count, DRAWS), 0.5, dtype=np.float32)
        normals = np.zeros((count, len(seeds), TRENDS * lattice.count))
        for k in range(count):
            for row, seed in enumerate(seeds):
                random = np.random.Generator(np.random.PCG64([seed, 1, *_later(k)]))
                uniforms[k, row] = random.random(uniforms.shape[2:], dtype=np.float32)
                normals[k, row] = random.standard_normal(normals.shape[2])
        given = (
            np.tile(context, (count, 1)),
            np.tile(starts, count),
            uniforms.reshape(-1, *uniforms.shape[2:]),
        )
        device = next(self.net.parameters()).device
        drawn = self.net.draw(*(torch.from_numpy(part).to(device) for part in given))
        bins, half, present, length = (part.cpu().numpy() for part in drawn)
        readings = to_readings(bins, half, present, lattice, given[2][..., 1])
        root, until = self.net.drift.cpu().numpy(), length if self.ends else np.full(len(length), self.hours)
        stays = [
            [
                with_drift(readings[i, : until[i]], root, normals[k, row], self.shape.hours, lattice)
                for row, i in enumerate(range(k * rows, k * rows + len(seeds)))
            ]
            for k in range(count)
        ]
        return stays, np.reshape(length, (count, rows))


def _later(proposal: int) -> tuple[int, ...]:
    """What a seed gets for a proposal; the first is the prior's own draw."""
    return (proposal,) if proposal else ()
