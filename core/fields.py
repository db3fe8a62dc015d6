"""The one list of profile fields: code, unit, public range. Add a field here and every room knows it."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from .errors import InputError
from .profile import PatientProfile, Value

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"


@dataclass(frozen=True)
class Field:
    """One thing that may be known of a patient.

    Numbers lie in [low, high] of their UCUM unit; the range is public knowledge, never read off
    data. Categories are one of `choices`. Conditions are present or absent.
    """

    name: str
    label: str
    kind: Literal["number", "category", "condition"]
    system: str = ""
    code: str = ""
    unit: str = ""
    low: float = 0.0
    high: float = 1.0
    decimals: int = 0
    choices: tuple[str, ...] = ()

    def check(self, value: Value, where: str = "profile") -> Value:
        """The value in its canonical type. Raises InputError with the expected range or choices."""
        if self.kind == "condition":
            if isinstance(value, bool):
                return value
            raise InputError(f"{where}: {self.name} ({self.label}) must be true or false, got {value!r}")
        if self.kind == "category":
            if value in self.choices:
                return value
            raise InputError(f"{where}: {self.name} must be one of {', '.join(self.choices)}, got {value!r}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise InputError(f"{where}: {self.name} must be a number in {self.unit}, got {value!r}") from None
        if not self.low <= number <= self.high:  # also catches NaN
            raise InputError(
                f"{where}: {self.name} must lie in {self.low:g} to {self.high:g} {self.unit}, got {value!r}"
            )
        return number


def _number(
    name: str, label: str, loinc: str, unit: str, low: float, high: float, decimals: int = 0
) -> Field:
    return Field(name, label, "number", LOINC, loinc, unit, low, high, decimals)


def _condition(icd10: str, label: str) -> Field:
    return Field(icd10, label, "condition", ICD10, icd10)


FIELDS: tuple[Field, ...] = (
    _number("age", "Age", "30525-0", "a", 0, 110, 1),
    Field("sex", "Sex", "category", LOINC, "46098-0", choices=("F", "M")),
    _number("height", "Body height", "8302-2", "cm", 40, 230),
    _number("weight", "Body weight", "29463-7", "kg", 2, 300, 1),
    # baseline vitals
    _number("heart_rate", "Heart rate", "8867-4", "/min", 20, 250),
    _number("systolic", "Systolic blood pressure", "8480-6", "mm[Hg]", 40, 300),
    _number("diastolic", "Diastolic blood pressure", "8462-4", "mm[Hg]", 20, 200),
    _number("respiration", "Respiratory rate", "9279-1", "/min", 4, 70),
    _number("oxygen_saturation", "Oxygen saturation", "2708-6", "%", 40, 100),
    _number("temperature", "Body temperature", "8310-5", "Cel", 30, 43, 1),
    # labs
    _number("hemoglobin", "Hemoglobin", "718-7", "g/dL", 3, 22, 1),
    _number("leukocytes", "Leukocytes", "6690-2", "10*3/uL", 0.1, 200, 1),
    _number("platelets", "Platelets", "777-3", "10*3/uL", 5, 1500),
    _number("creatinine", "Creatinine", "2160-0", "mg/dL", 0.1, 20, 2),
    _number("glucose", "Glucose", "2345-7", "mg/dL", 20, 1000),
    _number("potassium", "Potassium", "2823-3", "mmol/L", 1.5, 9, 1),
    _number("lactate", "Lactate", "2524-7", "mmol/L", 0.2, 25, 1),
    _number("nt_probnp", "NT-proBNP", "33762-6", "pg/mL", 5, 70000),
    # cardiac
    _condition("I10", "Essential (primary) hypertension"),
    _condition("I25.2", "Old myocardial infarction"),
    _condition("I44.7", "Left bundle-branch block, unspecified"),
    _condition("I45.10", "Unspecified right bundle-branch block"),
    _condition("I48.91", "Unspecified atrial fibrillation"),
    _condition("I48.92", "Unspecified atrial flutter"),
    _condition("I49.1", "Atrial premature depolarization"),
    _condition("I49.3", "Ventricular premature depolarization"),
    _condition("I49.8", "Other specified cardiac arrhythmias"),
    _condition("I50.9", "Heart failure, unspecified"),
    _condition("I51.7", "Cardiomegaly"),
    _condition("R00.0", "Tachycardia, unspecified"),
    _condition("R00.1", "Bradycardia, unspecified"),
    _condition("Z95.0", "Presence of cardiac pacemaker"),
    _condition("R94.31", "Abnormal electrocardiogram [ECG] [EKG]"),
    # chest
    _condition("J18.9", "Pneumonia, unspecified organism"),
    _condition("J43.9", "Emphysema, unspecified"),
    _condition("J81.0", "Acute pulmonary edema"),
    _condition("J84.10", "Pulmonary fibrosis, unspecified"),
    _condition("J90", "Pleural effusion, not elsewhere classified"),
    _condition("J93.9", "Pneumothorax, unspecified"),
    _condition("J98.11", "Atelectasis"),
    _condition("R91.1", "Solitary pulmonary nodule"),
    _condition("R91.8", "Other nonspecific abnormal finding of lung field"),
    # systemic
    _condition("A41.9", "Sepsis, unspecified organism"),
    _condition("C50.919", "Malignant neoplasm of unspecified site of unspecified female breast"),
    _condition("C50.929", "Malignant neoplasm of unspecified site of unspecified male breast"),
    _condition("E11.9", "Type 2 diabetes mellitus without complications"),
    _condition("N18.9", "Chronic kidney disease, unspecified"),
    # how a study was made, and what kind of tumour
    Field("chest_view", "Chest X-ray view", "category", choices=("PA", "AP")),
    Field(
        "pam50", "PAM50 intrinsic subtype", "category", choices=("LumA", "LumB", "Basal", "Her2", "Normal")
    ),
    Field(
        "tumor_stage", "AJCC pathologic stage group", "category", LOINC, "21902-2",
        choices=("I", "II", "III", "IV"),
    ),
    Field(
        "estrogen_receptor", "Oestrogen receptor of the tumour", "category", LOINC, "16112-5",
        choices=("negative", "positive"),
    ),
    Field(
        "progesterone_receptor", "Progesterone receptor of the tumour", "category", LOINC, "16113-3",
        choices=("negative", "positive"),
    ),
    Field("her2", "HER2 of the tumour", "category", LOINC, "48676-1", choices=("negative", "positive")),
)  # fmt: skip
BY_NAME = {field.name: field for field in FIELDS}
BREAST_CANCER = ("C50.919", "C50.929")
ONLY_SEX = {"C50.919": "F", "C50.929": "M"}  # codes that name the patient's sex


def field(name: str, where: str = "profile") -> Field:
    """The field of that name. Raises InputError naming the nearest known one."""
    if name in BY_NAME:
        return BY_NAME[name]
    near = get_close_matches(name, BY_NAME, n=1, cutoff=0.0)[0]
    raise InputError(f"{where}: unknown field or code {name!r}; the nearest known one is {near!r}")


def checked(profile: PatientProfile, where: str = "profile") -> PatientProfile:
    """The profile itself, each known field validated. Raises InputError."""
    where = f"{where} {profile.patient_id}"
    for name in ("age", "sex", "height", "weight"):
        if (value := profile.get(name)) is not None:
            BY_NAME[name].check(value, where)
    for kind, values in (
        ("condition", profile.conditions),
        ("number", profile.measurements),
        ("category", profile.traits),
    ):
        for name, value in values.items():
            known = field(name, where)
            if known.kind != kind:
                raise InputError(f"{where}: {name} is a {known.kind}, given as a {kind}")
            known.check(value, where)
    if profile.sex == "M" and profile.has("C50.919"):
        raise InputError(f"{where}: C50.919 is female breast cancer, the patient is male; use C50.929")
    if profile.sex == "F" and profile.has("C50.929"):
        raise InputError(f"{where}: C50.929 is male breast cancer, the patient is female; use C50.919")
    return profile


def with_values(profile: PatientProfile, values: dict[str, Value], where: str = "profile") -> PatientProfile:
    """The profile with fields set by vocabulary name, each checked. Raises InputError."""
    changes: dict[str, dict[str, Value]] = {"conditions": {}, "measurements": {}, "traits": {}}
    own: dict[str, Value] = {}
    for name, value in values.items():
        known = field(name, where)
        value = known.check(value, f"{where} {profile.patient_id}")
        if name in ("age", "sex", "height", "weight"):
            own[name] = value
        else:
            home = {"condition": "conditions", "number": "measurements", "category": "traits"}[known.kind]
            changes[home][name] = value
    return profile.but(**own, **changes)
