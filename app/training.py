"""Training folders wired to models: learn weights from them, or hold their test rows against a cohort."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..conditioning.dataset.dataset import read_training_set
from ..conditioning.dataset.dicom_tags import ALL, is_dicom_folder
from ..conditioning.dataset.dicom_tags import FIELDS as TAGS
from ..conditioning.encoder import ProfileEncoder
from ..conditioning.private_regression import FILE, PURPOSE, PrivateRegression
from ..conditioning.profile_regression import field_distributions
from ..conditioning.table.table_model import POPULATION
from ..core.capabilities import Measuring
from ..core.cohort.disk import SOME, refusals, require_folder, require_new_file
from ..core.config import DatasetConfig, TrainConfig, load, parse, read_yaml
from ..core.errors import InputError
from ..core.fields import FIELDS, Declaration, Field
from ..core.modality import TrainingSet
from ..core.profile import PatientProfile
from ..core.registry import load_modality
from ..core.remarks import remarks
from ..core.text import say
from ..core.training import weights

if TYPE_CHECKING:
    from ..core.dp.budget import Budget
    from ..core.modality import Modality

DATASET = "dataset.yaml"
FEW_MINUTES = 30.0  # in which a flow of images takes too few of its steps


@dataclass(frozen=True)
class Privacy:
    """What a training may cost: nothing (public data), or epsilon at delta, booked in a ledger."""

    epsilon: float | None = None
    delta: float | None = None
    ledger: Path | None = None
    limit: float | None = None

    @classmethod
    def asked(
        cls, public: bool, epsilon: float | None, delta: float | None, ledger: Path, limit: float | None
    ) -> "Privacy":
        """From the command line. Raises InputError unless it says either public or epsilon and delta."""
        if public and (epsilon, delta, limit) != (None, None, None):
            raise InputError("--public data have no budget: leave out --epsilon, --delta and --limit")
        if public:
            return cls()
        if epsilon is None or delta is None:
            raise InputError("say --epsilon E --delta D for patients' data, or --public for public data")
        return cls(epsilon, delta, ledger, limit)

    def budgets(self) -> "tuple[Budget | None, Budget | None]":
        """This run's budget, and the limit on what its population may pay in all."""
        from ..core.dp.budget import Budget

        if self.epsilon is None or self.delta is None:
            return None, None
        return Budget(self.epsilon, self.delta), None if self.limit is None else Budget(
            self.limit, self.delta
        )


def train(
    modality: str,
    data: Path,
    out: Path,
    privacy: Privacy,
    *,
    config: str | None = None,
    init: str | None = None,
    overwrite: bool = False,
    checkpoints: Path | None = None,
    seed: int | None = None,
    **how: Any,
) -> weights.Card:
    """Train a modality, or `population`, on the train rows of a folder and save its weights to `out`; their card.

    `data` has a dataset.yaml, or `config` names a training YAML whose paths start at `data`. `how` are
    further fields of core.training.fit.Fit. Checkpoints that were not asked for are removed at the end, unless
    `max_minutes` ended the training before its last step. Raises InputError before any training starts if
    something will not do.
    """
    with refusals(out.parent, "run again with --resume, which goes on from what is kept"):
        with remarks() as found:
            learnt, folder = _learnt(
                modality, data, out, privacy, config, init, overwrite, checkpoints, seed, how
            )
        # counts of what private data had are exact, and charged to nobody: they are printed and go no further
        reading = list(found) if privacy.epsilon is None else []
        card = learnt.card.model_copy(update={"version": __version__, "reading": reading})
        replace(learnt, card=card).save(out)
    if checkpoints is None and card.complete:
        shutil.rmtree(folder, ignore_errors=True)
    return card


def _learnt(
    modality: str, data: Path, out: Path, privacy: Privacy, config: str | None, init: str | None, overwrite: bool,
    checkpoints: Path | None, seed: int | None, how: Mapping[str, Any],
) -> tuple[weights.Weights, Path]:  # fmt: skip
    """What train() saves, and the folder of its checkpoints."""
    require_new_file(out, overwrite, needed=SOME)
    require_folder(checkpoints or out.with_suffix(".checkpoints"))
    table = modality == POPULATION  # who the patients are is learnt too, though it has no records of its own
    learner = None if table else load_modality(modality)
    private = privacy.epsilon is not None
    minutes = None if how.get("resume") else how.get("max_minutes")
    settings = read_config(modality, data, config, out.stem, private, init is not None, minutes)
    start = None if init is None else weights.load(weight_file(init))
    if table and (start is not None or settings.model or how.get("resume") or len(settings.datasets) != 1):
        raise InputError(
            f"{POPULATION} is learnt at one go from one table: no --init, --resume or model settings"
        )
    if start is not None and start.card.modality != modality:
        raise InputError(
            f"--init {init}: expected weights of {modality}, got weights of {start.card.modality} ({start.card.kind}); "
            "`polyclinic weights` lists what there is"
        )
    sets = [] if table else [read_training_set(part, data, "train", private) for part in settings.datasets]

    from ..core.training.fit import Fit

    budget, limit = privacy.budgets()
    folder = checkpoints or out.with_suffix(".checkpoints")
    fit = Fit(
        folder=folder,
        seed=settings.seed if seed is None else seed,
        budget=budget,
        ledger=privacy.ledger,
        limit=limit,
        people=tuple(dict.fromkeys(p.patient_id for part in sets for p in part.profiles)),
        population=_stated_population(settings.datasets),
        **how,
    )
    if learner is None:
        from ..conditioning.table.learning import learn_table

        learnt = learn_table(settings.datasets[0], data, fit)
    else:
        from ..core.training.trainer import require_devices

        require_devices(fit)
        declared = _declared(sets, start)
        profiles, measured = _patients(learner, sets) if declared else ([], [])
        regression = PrivateRegression.of(declared, measured)
        if fit.budget is not None and regression.fields and profiles:
            left, charged = PrivateRegression.split(fit.budget, len(profiles))
            fit = replace(fit, asked=fit.budget.epsilon, budget=left, beside={PURPOSE: charged})
        learnt = learner.train(sets, ProfileEncoder([*FIELDS, *declared]), settings.model, fit, start)
        if config is None and (
            name := shipped_model(modality, settings.datasets[0], private, init is not None, minutes)[0]
        ):
            # not before: what is wrong with the data is one line alone
            say(f"polyclinic: no --config: the model is that of --config {name}", aside=True)
        from ..core.condition import field_of

        coded = {field_of(column) for column in learnt.card.columns}
        noted = {field.name: Declaration(**field.declaration()) for field in declared if field.name in coded}
        update: dict[str, Any] = {"declared": noted}
        if PURPOSE in fit.beside:
            noise, file = fit.beside[PURPOSE].noise_multiplier, folder / FILE
            update["distributions"] = regression.release(profiles, measured, noise, file, fit.resume)
        elif not private and noted:
            update["distributions"] = field_distributions(profiles, declared, measured)
        learnt = replace(learnt, card=learnt.card.model_copy(update=update))
    return replace(learnt, card=learnt.card.model_copy(update={"name": settings.name})), folder


def _patients(
    learner: "Modality", sets: Sequence[TrainingSet]
) -> tuple[list[PatientProfile], list[Mapping[str, float]]]:
    """Each training patient once, and what the first record shows of shipped numbers."""
    found: dict[str, tuple[PatientProfile, Mapping[str, float]]] = {}
    for part in sets:
        shown = learner.baselines(part) if isinstance(learner, Measuring) else [{}] * len(part.profiles)
        for profile, values in zip(part.profiles, shown, strict=True):
            found.setdefault(profile.patient_id, (profile, values))
    return [profile for profile, _ in found.values()], [values for _, values in found.values()]


def _stated_population(parts: Sequence[DatasetConfig]) -> str:
    """The name under which a ledger books the patients, if a data set states one."""
    return (
        "+".join(part.population or part.name for part in parts) if any(p.population for p in parts) else ""
    )


def _declared(sets: Sequence[TrainingSet], start: weights.Weights | None) -> list[Field]:
    """Fields that the sets declare, and those of the weights to start from. Raises InputError where they differ."""
    found: dict[str, Field] = {}
    for part in sets:
        for field in part.vocabulary.declared:
            if found.setdefault(field.name, field) != field and field.name in part.fields:
                raise InputError(
                    f"{part.source.name}: {field.name} has other classes or another range in another data set; "
                    "declare them alike"
                )
    before = {} if start is None else {field.name: field for field in start.card.declared_fields}
    return list((before | found).values())


def read_config(
    modality: str,
    data: Path,
    config: str | None,
    name: str,
    private: bool = False,
    init: bool = False,
    minutes: float | None = None,
) -> TrainConfig:
    """What to train: data/dataset.yaml where there is one, and the training YAML `config`, by name or path.

    The YAML gives the model, and the data sets too where the folder does not describe itself. A folder of
    nothing but DICOM files does. Without a YAML the model is the shipped one that fits. Raises InputError.
    """
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; expected the training data there")
    own = data / DATASET
    described = describe(data)
    datasets = [] if described is None else [described]
    if config is None:
        if not datasets:
            raise InputError(
                f"{own}: no such file; write one that describes the folder, or give --config (a folder of nothing "
                "but DICOM files needs neither)"
            )
        _, model = shipped_model(modality, datasets[0], private, init, minutes)
        return TrainConfig(modality=modality, name=name, datasets=datasets, model=model)
    settings, path = load(TrainConfig, config, "train")
    if settings.modality != modality:
        raise InputError(f"{path}: is a training of {settings.modality!r}, asked for {modality!r}")
    if not (datasets := datasets or settings.datasets):
        raise InputError(
            f"{path}: datasets: expected at least one, or a {own}, or a folder of nothing but DICOM files"
        )
    return settings.model_copy(update={"datasets": datasets})


def shipped_model(
    modality: str, dataset: DatasetConfig, private: bool, init: bool = False, minutes: float | None = None
) -> tuple[str, dict[str, Any]]:
    """Name and model of the shipped training YAML for the folder's kind, the model fitted to the folder's fields.

    Empty for a modality that ships none. What the YAML says of its own data is left out: fields that the folder
    does not map, the upsampler of chest X-rays. A public training of few minutes gets the model that needs no steps,
    unless volumes are to be drawn, which that one cannot.
    """
    kind = str(dataset.options.get("kind", {"signals": "ecg"}.get(modality, modality)))
    scratch = [] if init else [f"{kind}_cosine"]  # needs no weights to start from
    shows = dataset.options.get("shows")
    volumes = isinstance(shows, Mapping) and shows.get("slices", 1) != 1
    short = minutes is not None and minutes < FEW_MINUTES and not volumes
    for name in [*scratch, f"{kind}_private", kind] if private else [*(scratch if short else []), kind]:
        path = Path(str(files("polyclinic.configs"))) / "train" / f"{name}.yaml"
        if not path.is_file() or (shipped := parse(TrainConfig, read_yaml(path), name)).modality != modality:
            continue
        known = {*(TAGS if dataset.dicom else ()), *dataset.fields, *dataset.constants}
        model = {key: value for key, value in shipped.model.items() if key != "shows"}
        if "steer" in model:
            steer = [field for field in model.pop("steer") if field in known]
            if "pam50" in steer:  # else these are not the shipped fields: all that the folder maps steer
                model["steer"] = steer
        if (prior := model.get("prior")) and prior.get("by") not in known:
            model["prior"] = {key: value for key, value in prior.items() if key != "by"}
        if "training" in model:
            model["training"] = {key: value for key, value in model["training"].items() if key != "compile"}
        if kind == "vitals" and "hours" in dataset.options:
            model["network"] = {**model["network"], "hours": dataset.options["hours"]}
        return name, model
    return "", {}


def describe(data: Path) -> DatasetConfig | None:
    """A folder's own dataset.yaml, or what a folder of DICOM files alone needs none to say. Raises InputError."""
    own = data / DATASET
    if own.exists():
        return parse(DatasetConfig, read_yaml(own), str(own))
    if is_dicom_folder(data):
        return DatasetConfig(name=data.resolve().name, dicom=ALL, options={"modality": "imaging"})
    return None


def weight_file(init: str) -> Path:
    """Of --init: a .safetensors file, else weights by name, though a file or folder of that name is there."""
    path = Path(init)
    if path.suffix == ".safetensors" or (path.is_file() and init not in weights.available()):
        return path
    found = weights.find(init)
    if path.exists():
        say(
            f"polyclinic: --init {init}: the weights of that name, not the {'folder' if path.is_dir() else 'file'} "
            f"{path}",
            aside=True,
        )
    return found


def references(data: Path) -> Mapping[str, list[tuple[TrainingSet, TrainingSet]]]:
    """Real data to judge each modality against: pairs of train rows and held-out test rows.

    `data` is a training folder whose dataset.yaml names its modality in options, or a root under which
    the data sets of the shipped training YAMLs lie that say `reference: true`. Raises InputError.
    """
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; expected real reference data there")
    found: dict[str, list[tuple[TrainingSet, TrainingSet]]] = {}
    for modality, dataset in _reference_sets(data):
        pair = (read_training_set(dataset, data, "train"), read_training_set(dataset, data, "test"))
        found.setdefault(modality, []).append(pair)
    if not found:
        raise InputError(
            f"{data}: no reference data; expected a {DATASET} with options: {{modality: NAME}}, "
            "or the data sets that the shipped training configurations mark as reference"
        )
    return found


def _reference_sets(data: Path) -> list[tuple[str, DatasetConfig]]:
    if (dataset := describe(data)) is not None:
        if not isinstance(modality := dataset.options.get("modality"), str):
            raise InputError(
                f"{data / DATASET}: options: expected `modality: NAME`, to know what the records are"
            )
        return [(load_modality(modality).name, dataset)]
    sets: list[tuple[str, DatasetConfig]] = []
    for path in sorted((Path(str(files("polyclinic.configs"))) / "train").glob("*.yaml")):
        config = parse(TrainConfig, read_yaml(path), str(path))
        sets += [
            (config.modality, dataset)
            for dataset in config.datasets
            if dataset.options.get("reference") and (data / dataset.path).is_dir()
        ]
    return sets
