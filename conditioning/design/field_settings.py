"""Field settings of a cohort YAML: parsed by each field's kind, and refused where no patients can satisfy them."""

from collections.abc import Mapping
from typing import Any

from ...core.config import parse
from ...core.errors import InputError
from ...core.fields import BREAST_CANCER, BY_NAME, Declaration, Vocabulary
from ...core.registry import vocabulary
from ...core.training.weights import available, folders, named, read_card
from ..distributions import (
    MAX_FACTOR,
    SETTINGS,
    CategoryShares,
    FieldSettings,
    NumberSpread,
    Prevalence,
)
from .cohort_config import CohortConfig, counted
from .criteria import CATEGORIES, FROM_HEART_RATE

# drawn by settings of their own, or by rule
DRAWN_ELSEWHERE = ("age", "height", "weight", "diastolic", *CATEGORIES)


def with_declarations(config: CohortConfig, where: str) -> CohortConfig:
    """With what the weights in force declare of fields that the cohort names and nobody has declared.

    Weights that `--use` names go before others, and those of POLYCLINIC_WEIGHTS before those that ship.
    """
    known = vocabulary().declare(config.declare, where)
    asked = dict.fromkeys([*config.conditions, *config.fields, *config.counts])
    found: dict[str, dict[str, Declaration]] = {}
    if config.table is None and any(name not in known for name in asked):
        found = {file: read_card(path).declared for file, path in available().items()}
    declare = dict(config.declare)
    for name in asked:
        there = {
            file: declared[name] for file, declared in found.items() if name in declared and name not in known
        }
        first = min((_rank(file) for file in there), default=0)
        there = {file: declaration for file, declaration in there.items() if _rank(file) == first}
        if len({declaration.model_dump_json() for declaration in there.values()}) > 1:
            raise InputError(
                f"{where}: {name}: the weights {' and '.join(there)} declare it differently; add it to declare"
            )
        if there:
            declare[name] = next(iter(there.values()))
    return config.model_copy(update={"declare": declare})


def declared_by_weights() -> list[str]:
    """Names of fields that weights in force declare."""
    return sorted({name for path in available().values() for name in read_card(path).declared})


def _rank(name: str) -> int:
    """How early weights in force are asked: those of `--use` first, then folder by folder."""
    if name in named():
        return 0
    having = (i for i, folder in enumerate(folders(), 1) if (folder / f"{name}.safetensors").is_file())
    return next(having, 1)


def as_learnt(config: CohortConfig, known: Vocabulary) -> CohortConfig:
    """With the fields of the weights that know a counted field, distributed as in the patients they were learnt from.

    A cohort that says how the counted field is distributed, or takes it from a table, stays as it is.
    """
    wanted = [name for name in config.counts if name not in {*config.fields, *config.conditions}]
    if config.table is not None or not wanted:
        return config
    there = available()
    for file in sorted(there, key=_rank):
        card = read_card(there[file])
        if wanted[0] not in card.distributions:
            continue
        fields, declare = dict(config.fields), dict(config.declare)
        for name, settings in card.distributions.items():
            declaration = card.declared.get(name)
            if name in DRAWN_ELSEWHERE or name in {*fields, *config.conditions}:
                continue
            if name not in known and declaration is not None:
                declare[name] = declaration
            if name in known or name in declare:
                fields[name] = settings
        return config.model_copy(update={"fields": fields, "declare": declare})
    return config


def field_settings(config: CohortConfig, known: Vocabulary, tabled: set[str], where: str) -> FieldSettings:
    """How each condition and field is distributed, in order; one that is only counted has its counts' shares."""
    settings: dict[str, Any] = dict(config.conditions)
    for name, value in config.fields.items():
        key = f"{where}: fields.{name}"
        if name in settings:
            raise InputError(f"{key}: stands under conditions too; leave one out")
        asked = known.field(name, f"{where}: fields")
        if name in DRAWN_ELSEWHERE:
            raise InputError(f"{key}: follows from the cohort's other settings; leave it out")
        if not asked.settled:
            missing = "classes" if asked.kind == "category" else "range"
            raise InputError(f"{key}: state its {missing} under declare")
        plain = value if isinstance(value, dict) else {"share": value}
        settings[name] = made = parse(SETTINGS[asked.kind], plain, key)
        if isinstance(made, CategoryShares):
            for one in [
                *made.shares,
                *made.per_decade,
                *made.men,
                *(c for g in made.given.values() for c in g),
            ]:
                asked.check(one, key)
    for name, counts in config.counts.items():
        asked = known.field(name, f"{where}: counts")
        values = counted(counts, asked, f"{where}: counts")
        if name not in {*settings, *tabled, *CATEGORIES}:
            whole = sum(values.values())
            settings[name] = (
                Prevalence.model_validate(values.get(True, 0) / whole)
                if asked.kind == "flag"
                else CategoryShares(shares={str(value): n / whole for value, n in values.items()})
            )
    return settings


def require_possible(
    config: CohortConfig, settings: FieldSettings, known: Vocabulary, tabled: set[str], where: str
) -> None:
    """Refuse what no patients can satisfy, before any is drawn."""
    if config.index_date.first > config.index_date.last:
        raise InputError(f"{where}: index_date.first must not come after index_date.last")
    if config.age is None and "age" not in tabled:
        raise InputError(f"{where}: age: expected mean and sd, since no learnt table draws it")
    if config.age is not None:
        _check_age(config, where)
    for code in config.conditions:
        if known.field(code, f"{where}: conditions").kind != "flag":
            raise InputError(
                f"{where}: conditions.{code}: {code} is not a condition; expected a flag of the vocabulary"
            )
    above = [name for name in tabled if name in known]
    for name, made in settings.items():
        key = f"{where}: {'conditions' if name in config.conditions else 'fields'}.{name}"
        asked = known.field(name, key)
        if name in FROM_HEART_RATE:
            raise InputError(f"{key}: follows from the heart rate of every patient; leave it out")
        if name in tabled:
            raise InputError(f"{key}: the learnt table draws it; leave it out")
        share = made.share if isinstance(made, Prevalence) else 0
        if "sex" not in tabled and share > 0 and _share_of_sex(config, asked.sex) == 0:
            who = "women" if asked.sex == "F" else "men"
            raise InputError(f"{key}: is a code for {who}, and women: {config.women:g} leaves none")
        _check_parents(made, above, known, key)
        above.append(name)
    if config.chest_ap is not None:
        _check_parents(config.chest_ap, above, known, f"{where}: chest_ap")
    if config.pam50:
        _check_subtypes(config.pam50, above, where)


def _check_age(config: CohortConfig, where: str) -> None:
    years = config.age
    assert years is not None
    if not years.low < years.high:
        raise InputError(f"{where}: age.low must lie below age.high, got {years.low}, {years.high}")
    if not years.low <= years.mean <= years.high:
        raise InputError(f"{where}: age.mean must lie between age.low and age.high, got {years.mean}")


def _check_subtypes(subtypes: Mapping[str, float], above: list[str], where: str) -> None:
    for name, share in subtypes.items():
        BY_NAME["pam50"].check(name, f"{where}: pam50")
        if not 0 <= share <= 1:
            raise InputError(f"{where}: pam50.{name}: a share must lie in 0 to 1, got {share}")
    if abs(sum(subtypes.values()) - 1) > 0.02:  # published shares are rounded
        raise InputError(f"{where}: pam50: shares must add up to 1, got {sum(subtypes.values()):g}")
    if not set(BREAST_CANCER) & set(above):
        raise InputError(f"{where}: pam50: needs breast cancer ({', '.join(BREAST_CANCER)}) in conditions")


def _check_parents(
    made: Prevalence | CategoryShares | NumberSpread, above: list[str], known: Vocabulary, key: str
) -> None:
    """What a field depends on must be a flag, or FIELD=CLASS of a category, that is drawn before it."""
    always = made.always_if if isinstance(made, Prevalence) else []
    asked_of = {"given": list(made.given), "always_if": always}
    if isinstance(made, NumberSpread):
        asked_of |= {"sd_given": list(made.sd_given), "shape_given": list(made.shape_given)}
    for place, names in asked_of.items():
        for name in names:
            owner, _, value = name.partition("=")
            asked = known.field(owner, f"{key}.{place}")
            if owner not in above:
                raise InputError(
                    f"{key}.{place}: {owner} must be listed under conditions, above what needs it"
                )
            if asked.kind != ("category" if value else "flag") or (value and place == "always_if"):
                raise InputError(
                    f"{key}.{place}: {name} is no flag; of a category give FIELD=CLASS under given"
                )
            if value:
                asked.check(value, f"{key}.{place}")
    if isinstance(made, Prevalence):
        for code, factor in made.given.items():
            if not 0 <= factor <= MAX_FACTOR:
                raise InputError(
                    f"{key}.given.{code}: a factor must lie in 0 to {MAX_FACTOR:g}, got {factor}"
                )


def _share_of_sex(config: CohortConfig, sex: str | None) -> float:
    return 1.0 if sex is None else config.women if sex == "F" else 1 - config.women
