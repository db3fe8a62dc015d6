"""Gate: judge(), a policy held against what was measured, check by check."""

import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from .policy import Limits, Policy
from .score import MEASURED
from .verdict import APPROVALS, ONE, TERMS, TWO, Check, Verdict

CHANCE = 0.5  # AUROC of chance


def judge(
    policy: Policy,
    manifest: Mapping[str, Any],
    scores: Mapping[str, Any],
    weights: Sequence[Mapping[str, Any]],
    approvals: Mapping[str, AbstractSet[str]],
) -> Verdict:
    """Hold a cohort's manifest, its scores (as in scores.json) and its weights' cards against a policy.

    weights: {"name", "sha256", "epsilon" (None: learnt on public data), "known" (the card was found)} each.
    approvals: the public keys that have spoken for each role.
    """
    names = [name for name, own in manifest["modalities"].items() if own.get("with_record", 1)]
    checks = [
        *_terms(policy, manifest, names),
        *_approved(policy, approvals),
        *(c for name in names for c in _fidelity(policy, name, scores)),
        *_whole(policy, scores),
        *(c for name in names for c in _attacked(policy, name, _section(scores, "privacy"))),
        *_linked_attacks(policy, names, _section(scores, "privacy")),
        *_identifiers(scores),
        *(c for card in weights for c in _learnt(policy, card, _rows(_section(scores, "privacy"), "audits"))),
    ]
    return Verdict(policy.name, tuple(checks), tuple(policy.may_be_unmeasured))


# -- terms


def _terms(policy: Policy, manifest: Mapping[str, Any], names: Sequence[str]) -> Iterator[Check]:
    terms, patients = policy.terms, _number(manifest.get("patients"))
    yield Check("patients/least", TERMS, "patients in the cohort", patients, terms.patients_at_least, False)
    if terms.patients_at_most is not None:
        yield Check("patients/most", TERMS, "patients in the cohort", patients, terms.patients_at_most)
    if terms.modalities is not None:
        extra = [name for name in names if name not in terms.modalities]
        words = f"modalities that this policy does not let out ({', '.join(extra) or 'none'})"
        yield Check("modalities", TERMS, words, len(extra), 0)


def _approved(policy: Policy, approvals: Mapping[str, AbstractSet[str]]) -> Iterator[Check]:
    """Who has spoken. Silence is no figure: what is missing may still come."""
    speakers = {}
    for role in policy.terms.roles:
        allowed = policy.terms.keys.get(role)
        speakers[role] = {key for key in approvals.get(role, ()) if allowed is None or key in allowed}
        spoken = 1 if speakers[role] else None
        yield Check(
            f"approval/{role}", APPROVALS, f"the {role}", spoken, 1, False, why="has not approved yet"
        )
    if policy.terms.separate and all(speakers.values()):
        apart = 1 if _apart(list(speakers.values())) else None
        why = "one key speaks for several"
        yield Check(
            "approval/separate", APPROVALS, "a key of its own for each role", apart, 1, False, why=why
        )


def _apart(speakers: Sequence[AbstractSet[str]]) -> bool:
    """Whether each role can have a key that no other role has."""
    if not speakers:
        return True
    first, *rest = speakers
    return any(_apart([other - {key} for other in rest]) for key in first)


# -- gate one: fidelity and utility


def _fidelity(policy: Policy, modality: str, scores: Mapping[str, Any]) -> Iterator[Check]:
    views = [v for v in _rows(scores, "views") if v.get("modality") == modality]
    if not views:
        why = "there are no real records to compare with"
        yield Check(
            f"fidelity/{modality}", ONE, f"{modality} against real records", None, 1, False, modality, why
        )
        return
    tasks = 0
    for view in views:
        checks = list(_view(policy.gate_one.of(str(view.get("view"))), modality, view))
        tasks += sum(c.key.startswith("tstr/") and c.value is not None for c in checks)
        yield from checks
    least = policy.gate_one.tasks_at_least
    yield _enough(
        f"tstr_tasks/{modality}", ONE, f"{modality}: tasks of TSTR measured", tasks, least, modality
    )


def _enough(key: str, gate: str, what: str, measured: int, least: int, modality: str | None) -> Check:
    """That enough was measured: too little is a lack, not a failure, since more may be measured."""
    why = f"{measured or 'none'} measured"
    return Check(key, gate, what, measured if measured >= least else None, least, False, modality, why)


def _view(limits: Limits, modality: str, view: Mapping[str, Any]) -> Iterator[Check]:
    name, title = view.get("view"), str(view.get("title"))
    found = _rows(view, "scores")
    by_metric = {s.get("metric"): s for s in found if s.get("metric") != "tstr_auroc"}
    for metric, key, what, limit in (
        ("ks", "ks", "single measurements, beyond real groups", limits.ks_above_baseline_at_most),
        ("frechet", "frechet", "all measurements, beyond real groups", limits.frechet_above_baseline_at_most),
        ("c2st_auc", "c2st_auc", "classifier two-sample test, AUC", limits.c2st_auc_at_most),
    ):  # fmt: skip
        score = by_metric.get(metric, {})
        value = _measured(score)
        if metric != "c2st_auc" and value is not None:
            high = _end(score.get("real_baseline_interval"), 1)
            value = None if high is None else max(0.0, value - high)
        yield Check(f"{key}/{name}", ONE, f"{title}: {what}", value, limit, True, modality, _why(score))
    for score in (s for s in found if s.get("metric") == "tstr_auroc"):
        what = f"{title}: TSTR as a share of what real records surely reach, {score.get('task')}"
        value, why = _tstr_share(score)
        key = f"tstr/{name}/{score.get('task')}"
        yield Check(key, ONE, what, value, limits.tstr_share_at_least, False, modality, why)


def _tstr_share(score: Mapping[str, Any]) -> tuple[float | None, str]:
    """AUROC above chance as a share of what as many real records surely reach; None where that is nothing.

    Surely: the low end of the range over other real patients, so that real patients themselves pass.
    """
    value, real_baseline, low = (
        _measured(score),
        _number(score.get("real_baseline")),
        _end(score.get("real_baseline_interval"), 0),
    )
    if value is None or real_baseline is None or low is None:
        return None, _why(score)
    if low <= CHANCE:
        return None, "what real records reach may be chance"
    return (value - CHANCE) / (low - CHANCE), ""


def _whole(policy: Policy, scores: Mapping[str, Any]) -> Iterator[Check]:
    """The link between a patient's records, and clinical rules."""
    one, link, rules = policy.gate_one, _section(scores, "linkage"), _section(scores, "rules")
    yield Check(
        "linkage/score", ONE, "link between a patient's records, score", _number(link.get("score")),
        one.linkage_score_at_least, False, None, "needs real records to learn from",
    )  # fmt: skip
    failing = link.get("inconsistent_patients")
    contradictions = (
        len(failing) if isinstance(failing, list) and _rows(link, "consistency_by_subject") else None
    )
    what = "patients whose files contradict each other"
    yield Check("linkage/inconsistent_patients", ONE, what, contradictions, one.inconsistent_patients_at_most)
    violations = _number(rules.get("violations")) if _number(rules.get("patients")) else None
    why = "no record states rules, or nobody checked them"
    yield Check("rules", ONE, "breaches of clinical rules", violations, one.rule_violations_at_most, why=why)


# -- gate two: privacy


def _attacked(policy: Policy, modality: str, privacy: Mapping[str, Any]) -> Iterator[Check]:
    two, attacks = policy.gate_two, [a for a in _rows(privacy, "attacks") if a.get("modality") == modality]
    measured = sum(_succeeded(a) is not None for a in attacks)
    tried = f"{modality}: attacks tried"
    yield _enough(f"attacks/{modality}", TWO, tried, measured, two.attacks_at_least, None)
    for attack in attacks:
        yield from _attack(policy, attack, modality)
    copied = [c for c in _rows(privacy, "memorization") if c.get("modality") == modality]
    for copies in copied or [{}]:
        yield from _copied(policy, copies, modality)


def _copied(policy: Policy, copies: Mapping[str, Any], modality: str) -> Iterator[Check]:
    """Copies of training records, and near copies beyond what held-out records, who cannot be copied, show."""
    key = "/".join(str(part) for part in (modality, copies.get("view")) if part)
    title = copies.get("title") or modality
    of = _number(copies.get("records")) or None
    exact, near, control = (_number(copies.get(k)) if of else None for k in ("exact", "near", "control_near"))
    members, controls = _number(copies.get("members")), _number(copies.get("controls"))
    chance = members / controls if members and controls else 1.0
    more = None if not of or near is None or control is None else max(0.0, near - control * chance) / of
    why, limit = "copies were not looked for", policy.gate_two.near_copies_above_controls_at_most
    yield Check(
        f"memorization/exact/{key}", TWO, f"{title}: copies of real records", exact, 0, True, modality, why
    )
    what = f"{title}: near copies beyond those of held-out records, share of the cohort"
    yield Check(f"memorization/near/{key}", TWO, what, more, limit, True, modality, why)


def _attack(policy: Policy, attack: Mapping[str, Any], modality: str | None) -> Iterator[Check]:
    names = [str(attack[part]) for part in ("modality", "view", "attack") if attack.get(part)]
    two, key = policy.gate_two, "/".join(names)
    title = attack.get("title") or key
    limit = two.auc_upper_for.get(str(attack.get("attack")), two.auc_upper_at_most)
    why = str(attack.get("reason") or "")
    what = f"{title}, AUC, upper end of its interval"
    yield Check(f"attack/auc/{key}", TWO, what, _succeeded(attack), limit, True, modality, why)
    found = _number(attack.get("tpr_at_1_fpr"))
    what, limit = f"{title}, members found at 1 % false alarms", two.tpr_at_1_fpr_at_most
    yield Check(f"attack/tpr/{key}", TWO, what, found, limit, True, modality, why or "needs more controls")


def _succeeded(attack: Mapping[str, Any]) -> float | None:
    """Upper end of an attack's interval; None if it was not measured, or on nobody."""
    if (
        not (_number(attack.get("members")) and _number(attack.get("controls")))
        or _number(attack.get("auc")) is None
    ):
        return None
    return _end(attack.get("interval"), 1)


def _linked_attacks(policy: Policy, names: Sequence[str], privacy: Mapping[str, Any]) -> Iterator[Check]:
    """Attacks on the patient as a whole: no new draw of one modality mends them."""
    for attack in _rows(privacy, "attacks"):
        if attack.get("modality") not in names:
            yield from _attack(policy, attack, None)


def _identifiers(scores: Mapping[str, Any]) -> Iterator[Check]:
    found = _section(scores, "privacy").get("identifiers")
    count = len(found) if isinstance(found, list) else None
    yield Check(
        "identifiers", TWO, "identifiers of real people left in files", count, 0, why="nobody looked for them"
    )


def _learnt(policy: Policy, card: Mapping[str, Any], audits: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """What the weights may tell of those they were learnt from, as claimed and as audited."""
    two, name = policy.gate_two, card["name"]
    if not card["known"]:
        why = "no weights with the hash in the manifest are installed"
        yield Check(
            f"weights/{name}", TWO, f"weights {name}: privacy cost", None, two.epsilon_at_most, why=why
        )
        return
    claimed = card["epsilon"]
    if claimed is None:
        allowed = int(two.public_weights)
        yield Check(f"weights/{name}", TWO, f"weights {name}: learnt on public data", 1, allowed)
        return
    what = f"weights {name}: epsilon claimed"
    yield Check(f"weights/{name}", TWO, what, _number(claimed), two.epsilon_at_most)
    own = [a for a in audits if a.get("weights") == card["sha256"]]
    bounds = [_number(a.get("lower_bound")) for a in own]
    if two.audit or any(bound is not None for bound in bounds):
        known = [b for b in bounds if b is not None]
        bound = max(known) if known and len(known) == len(bounds) else None
        what, limit = f"weights {name}: epsilon, lower bound by audit of its trainer", _number(claimed)
        why = "these weights were not audited"
        yield Check(f"audit/{name}", TWO, what, bound, 0.0 if limit is None else limit, why=why)


# -- reading scores that may lack anything


def _number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _end(interval: Any, place: int) -> float | None:
    """One end of an interval; None unless it is a pair of numbers in order."""
    if not isinstance(interval, list | tuple) or len(interval) != 2:
        return None
    low, high = _number(interval[0]), _number(interval[1])
    return None if low is None or high is None or low > high else (low, high)[place]


def _measured(score: Mapping[str, Any]) -> float | None:
    """The value of a score of this very cohort; one quoted from another cohort is none."""
    return _number(score.get("value")) if score.get("status") == MEASURED else None


def _why(score: Mapping[str, Any]) -> str:
    return str(
        score.get("reason") or (score.get("status") if score.get("status") != MEASURED else "") or "no figure"
    )


def _section(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _rows(values: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = values.get(key)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []
