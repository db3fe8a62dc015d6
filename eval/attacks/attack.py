"""attack(): what can be learnt of real patients from a cohort; every attack, its controls, the worst of them first."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ...core.modality import Modality, View
from ...core.registry import sound
from ..cohort import CohortFiles
from ..sample import Comparison
from . import linkability
from .attack_result import LEAST, AttackResult, Target, strongest
from .attribute_inference import by_condition, by_profile
from .audit_record import Audited, audits
from .identifiers import Identifier, identifiers
from .membership import NO_REFERENCE, AttackData, Embedding, MembershipAttack, attack_data, embed
from .memorization import Memorization, memorization

ATTRIBUTE_INFERENCE, PROFILE, LINKABILITY = "attribute_inference", "profile_matching", "linkability"
TITLES = {  # of the attacks that see more than the features: labels, profiles, two views at once
    ATTRIBUTE_INFERENCE: "Attribute inference",
    PROFILE: "Membership by profile matching",
    LINKABILITY: "Linkability of two records",
}
NO_COUNTERPART = "there are no real records to compare with"


@dataclass(frozen=True)
class PrivacyResult:
    """All that the attacks found; identifiers None: the files were not searched; audits None: no weights are named."""

    attacks: Sequence[AttackResult]
    memorization: Sequence[Memorization]
    identifiers: Sequence[Identifier] | None
    audits: Sequence[Audited] | None = None

    @property
    def strongest(self) -> AttackResult | None:
        """The strongest attack, as far as any was measured; see attack_result.strongest."""
        return strongest(self.attacks)

    @property
    def in_words(self) -> str:
        """The finding in a few sentences, the worst first."""
        said = []
        top = self.strongest
        if top is None:
            said.append(f"No attack was measured: {self._why()}.")
        elif top.auc is not None and top.interval is not None:
            measured = sum(row.auc is not None for row in self.attacks)
            sure = "more than chance" if top.interval[0] > 0.5 else "not surely more than chance"
            said.append(
                f"The strongest of {measured} attacks, {top.title}, has an AUC of {top.auc:.2f} "
                f"({top.interval[0]:.2f} to {top.interval[1]:.2f}), {sure}."
            )
        if self.memorization:
            exact, near = (sum(getattr(row, name) for row in self.memorization) for name in ("exact", "near"))
            expected = sum(row.expected for row in self.memorization)
            said.append(
                f"{exact} records are copies of a training patient's, {near} are near one; by chance about "
                f"{expected:.0f} would be."
            )
        if self.identifiers:
            said.append(f"{len(self.identifiers)} files hold traces of a person.")
        elif self.identifiers is not None:
            said.append("No identifier of a real person was found in the files.")
        return " ".join(said)

    def _why(self) -> str:
        """The reason that most attacks on single views give."""
        reasons = Counter(row.reason for row in self.attacks if row.reason and row.view)
        return reasons.most_common(1)[0][0] if reasons else NO_REFERENCE

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; without any patient."""
        top = self.strongest
        return {
            "in_words": self.in_words,
            "strongest_attack": None if top is None else top.to_dict(),
            "attacks": [row.to_dict() for row in self.attacks],
            "memorization": [row.to_dict() for row in self.memorization],
            "identifiers": None if self.identifiers is None else [vars(found) for found in self.identifiers],
            "audits": None if self.audits is None else [row.to_dict() for row in self.audits],
        }


def attack(
    comparisons: Mapping[str, Sequence[Comparison]],
    seed: int = 0,
    cohort: CohortFiles | None = None,
    modalities: Sequence[Modality] = (),
) -> PrivacyResult:
    """Every attack on every view, and the search of the cohort's files where there is one on disk.

    comparisons: modality name -> its views' rows (report.comparisons_of). Members are the training rows of the
    reference, whose data the generator may have seen; its test rows the controls. The patient is the unit: the best of
    a patient's rows counts. Raises InputError if a file of the cohort cannot be read.
    """
    on_features = membership_attacks()
    found = [row for name, own in comparisons.items() for row in _of_modality(name, own, on_features, seed)]
    found += _linkability(comparisons, seed)
    whole = [
        (name, attack_data(comparison, LEAST)) for name, own in comparisons.items() for comparison in own
    ]
    copied = [memorization(name, rows, seed) for name, rows in whole if isinstance(rows, AttackData)]
    traces = None if cohort is None else identifiers(cohort, modalities, comparisons)
    return PrivacyResult(found, copied, traces, audits(cohort))


def membership_attacks() -> list[MembershipAttack]:
    """The installed attacks on the features of a view, ours and those of other packages."""
    return [MembershipAttack.of(plugin) for plugin in sound("attacks").values()]


def _of_modality(
    modality: str, own: Sequence[Comparison], on_features: Sequence[MembershipAttack], seed: int
) -> Iterator[AttackResult]:
    titles = {attack.name: attack.title for attack in on_features} | {PROFILE: TITLES[PROFILE]}
    if not own:
        yield Target(modality, "", "nearest_record", f"{modality.capitalize()}: every attack").not_measured(
            NO_COUNTERPART
        )
    for comparison in own:
        if comparison.unattacked:
            yield _target(modality, comparison.view, "nearest_record", "every attack").not_measured(
                comparison.unattacked
            )
            continue
        found = attack_data(comparison, LEAST)
        if isinstance(found, AttackData):
            yield from _of_view(modality, found, on_features, seed)
            continue
        for key, title in titles.items():
            yield _target(modality, comparison.view, key, title).not_measured(found)
        for task in comparison.view.tasks:
            yield _of_task(modality, comparison.view, task.name).not_measured(found)


def _target(modality: str, view: View, key: str, title: str) -> Target:
    return Target(modality, view.name, key, f"{view.title}: {title}")


def _of_task(modality: str, view: View, task: str) -> Target:
    return _target(modality, view, ATTRIBUTE_INFERENCE, f"{TITLES[ATTRIBUTE_INFERENCE]}, {task}")


def _of_view(
    modality: str, rows: AttackData, on_features: Sequence[MembershipAttack], seed: int
) -> Iterator[AttackResult]:
    embedding = embed(rows, seed)
    for own in on_features:
        scores, words = own.run(embedding, seed)
        yield _target(modality, rows.view, own.name, own.title).measured(
            scores, embedding.member, words, seed
        )
    yield _profile(_target(modality, rows.view, PROFILE, TITLES[PROFILE]), rows, embedding, seed)
    for task in rows.view.tasks:
        stated = rows.view.states.get(task.name, ())
        seen = embed(rows.without(stated), seed) if stated else embedding
        yield _condition(_of_task(modality, rows.view, task.name), rows, seen, task.name, seed)


def _profile(target: Target, rows: AttackData, embedding: Embedding, seed: int) -> AttackResult:
    if (found := by_profile(rows, embedding)) is None:
        return target.not_measured("real and synthetic patients share fewer than two known fields")
    scores, (inside, outside), fields = found
    words = (
        f"By {', '.join(fields)}: {inside} members and {outside} controls, each unlike every other real patient, "
        "have exactly one synthetic double."
    )
    return target.measured(scores, embedding.member, words, seed)


def _condition(target: Target, rows: AttackData, embedding: Embedding, task: str, seed: int) -> AttackResult:
    if (found := by_condition(rows, embedding, task)) is None:
        return target.not_measured("too few records of each class")
    scores, (inside, outside) = found
    words = (
        f"Told from the nearest synthetic record, {task} is right for {inside:.0%} of the members' records and "
        f"{outside:.0%} of the controls'."
    )
    return target.measured(scores, embedding.member, words, seed)


def _linkability(comparisons: Mapping[str, Sequence[Comparison]], seed: int) -> list[AttackResult]:
    """Every two views; one line that says so if no real patient has two records."""
    found = []
    every = [(name, comparison) for name, own in comparisons.items() for comparison in own]
    for (name, first), (other, second) in combinations(every, 2):
        both = linkability.pair(first, second, seed)
        if both is not None:
            title = f"{first.view.title}, {second.view.title}: {TITLES[LINKABILITY]}"
            words = "Two records are taken for one person's if the nearest synthetic patients of both are the same."
            target = Target(
                name if name == other else f"{name}+{other}",
                f"{first.view.name}+{second.view.name}",
                LINKABILITY,
                title,
            )
            found.append(target.measured(linkability.scores(both), both.member, words, seed))
    if not found:
        why = "no 20 real training and 20 real test patients have two kinds of records in the reference"
        found = [Target("", "", LINKABILITY, TITLES[LINKABILITY]).not_measured(why)]
    return found
