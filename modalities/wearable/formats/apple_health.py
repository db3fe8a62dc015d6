"""Apple Health: export.xml as a phone's Health app writes it, records of quantities and of sleep."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ....core.modality import Record
from ....core.profile import PatientProfile
from .series import meals_of, moment, origin, series_of, sleep_of

QUANTITIES = {  # channel -> type, unit, factor on the value
    "heart_rate": ("HeartRate", "count/min", 1),
    "steps": ("StepCount", "count", 1),
    "oxygen_saturation": ("OxygenSaturation", "%", 0.01),
    "respiration": ("RespiratoryRate", "count/min", 1),
    "skin_temperature": ("AppleSleepingWristTemperature", "degC", 1),
    "glucose": ("BloodGlucose", "mg/dL", 1),
    "systolic": ("BloodPressureSystolic", "mmHg", 1),
    "diastolic": ("BloodPressureDiastolic", "mmHg", 1),
}
STAGES = {"wake": "Awake", "light": "AsleepCore", "deep": "AsleepDeep", "rem": "AsleepREM"}
SEX = {"F": "HKBiologicalSexFemale", "M": "HKBiologicalSexMale"}
DTD = """<!DOCTYPE HealthData [
<!ELEMENT HealthData (ExportDate,Me,(Record)*)>
<!ATTLIST HealthData locale CDATA #REQUIRED>
<!ELEMENT ExportDate EMPTY>
<!ATTLIST ExportDate value CDATA #REQUIRED>
<!ELEMENT Me EMPTY>
<!ATTLIST Me HKCharacteristicTypeIdentifierDateOfBirth CDATA #REQUIRED
  HKCharacteristicTypeIdentifierBiologicalSex CDATA #REQUIRED
  HKCharacteristicTypeIdentifierBloodType CDATA #REQUIRED
  HKCharacteristicTypeIdentifierFitzpatrickSkinType CDATA #REQUIRED
  HKCharacteristicTypeIdentifierCardioFitnessMedicationsUse CDATA #REQUIRED>
<!ELEMENT Record (MetadataEntry)*>
<!ATTLIST Record type CDATA #REQUIRED unit CDATA #IMPLIED value CDATA #IMPLIED sourceName CDATA #REQUIRED
  sourceVersion CDATA #IMPLIED device CDATA #IMPLIED creationDate CDATA #IMPLIED startDate CDATA #REQUIRED
  endDate CDATA #REQUIRED>
<!ELEMENT MetadataEntry EMPTY>
<!ATTLIST MetadataEntry key CDATA #REQUIRED value CDATA #REQUIRED>
]>
"""
SOURCE = "Polyclinic (SYNTHETIC)"


class AppleHealthFormat:
    """apple_health/<patient>/export.xml; RMSSD is left out, since HealthKit's variability is SDNN."""

    name, modality = "apple_health", "wearable"

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.PatientFormat."""
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            path = folder / "apple_health" / profile.patient_id / "export.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines(record, profile))
            paths.append(path)
        return paths


def lines(record: Record, profile: PatientProfile) -> Iterator[str]:
    """The file, a line a record, in order of type and time."""
    last = origin(record, profile) + 86_400_000 * int(record.facts["days"]) - 1000
    born = "" if profile.birth_date is None else profile.birth_date.isoformat()
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield DTD.rstrip()
    yield '<HealthData locale="en_US">'
    yield f" <ExportDate value={_date(last)}/>"
    own = "HKCharacteristicTypeIdentifier"
    yield (
        f' <Me {own}DateOfBirth="{born}" {own}BiologicalSex="{SEX.get(profile.sex or "", "HKBiologicalSexNotSet")}" '
        f'{own}BloodType="HKBloodTypeNotSet" {own}FitzpatrickSkinType="HKFitzpatrickSkinTypeNotSet" '
        f'{own}CardioFitnessMedicationsUse="None"/>'
    )
    for found in series_of(record, profile, coarse=True):
        if found.name not in QUANTITIES:
            continue
        kind, unit, factor = QUANTITIES[found.name]
        lasts = 1000 * found.period if found.name == "steps" else 0
        for at, value in zip(found.at.tolist(), found.values.tolist(), strict=True):
            if found.name != "steps" or value > 0:
                shown = f"{value * factor:.4g}"
                yield _record(f"HKQuantityTypeIdentifier{kind}", found.device, at, at + lasts, shown, unit)
    for night in sleep_of(record, profile):
        for span in night:
            value = f"HKCategoryValueSleepAnalysis{STAGES[span.stage]}"
            yield _record("HKCategoryTypeIdentifierSleepAnalysis", "watch", span.begins, span.ends, value)
    for at, grams, units in meals_of(record, profile):
        yield _record("HKQuantityTypeIdentifierDietaryCarbohydrates", "phone", at, at, f"{grams:g}", "g")
        if units:
            yield _record(
                "HKQuantityTypeIdentifierInsulinDelivery", "phone", at, at, f"{units:g}", "IU",
                ' <MetadataEntry key="HKInsulinDeliveryReason" value="2"/>',
            )  # fmt: skip
    yield "</HealthData>"


def _record(
    kind: str, device: str, begins: int, ends: int, value: str, unit: str = "", inside: str = ""
) -> str:
    measured = f' unit="{unit}"' if unit else ""
    name = quoteattr(f"{SOURCE} {device}")
    text = (
        f' <Record type="{kind}" sourceName={name}{measured} creationDate={_date(ends)} startDate={_date(begins)} '
        f'endDate={_date(ends)} value="{value}"'
    )
    return f"{text}>{inside}</Record>" if inside else f"{text}/>"


def _date(milliseconds: int) -> str:
    return f'"{moment(milliseconds):%Y-%m-%d %H:%M:%S} +0000"'
