"""Team: who of the hospital's staff sees one patient; the same person again at each visit of a kind."""

from ..simulation.chart import Chart, Visit
from .hospital import HOSPITAL, colleague, reference
from .lists import uniform

_SPECIALTIES = {  # of the reason of a visit
    "breast_cancer_woman": "oncology", "breast_cancer_man": "oncology", "neutropenic_fever": "oncology",
    "heart_failure": "cardiology", "atrial_fibrillation": "cardiology", "atrial_flutter": "cardiology",
    "old_infarction": "cardiology", "pacemaker": "cardiology",
}  # fmt: skip
INTENSIVE = ("intensive_care", "ventilation")


class Team:
    """Staff by specialty, chosen by the patient's id."""

    def __init__(self, patient_id: str, chart: Chart) -> None:
        self._number = int(uniform(patient_id, "team") * 720720)
        self._intensive: dict[str, float] = {}
        for done in chart.procedures:
            if done.name in INTENSIVE and done.visit.is_stay:
                self._intensive[done.visit.key] = min(done.at, self._intensive.get(done.visit.key, done.at))
        self._known: dict[str, dict[str, str]] = {}

    def reference(self, specialty: str) -> dict[str, str]:
        """The practitioner of that specialty."""
        if specialty not in self._known:
            self._known[specialty] = reference("Practitioner", colleague(specialty, self._number))
        return self._known[specialty]

    def specialty(self, visit: Visit) -> str:
        """Of who attends a visit."""
        if visit.kind == "EMER":
            return "emergency"
        if visit.key in self._intensive:
            return "intensive"
        return _SPECIALTIES.get(visit.reason or "", "medicine")

    def attending(self, visit: Visit) -> dict[str, str]:
        """Who attends a visit."""
        return self.reference(self.specialty(visit))

    def performer(self, group: str, visit: Visit | None) -> dict[str, str]:
        """Who made an observation of that group."""
        if group == "laboratory":
            return _LABORATORY
        if group == "vital-signs" or visit is None:
            return self.reference("nurse")
        return self.attending(visit)

    def intensive_from(self, visit: Visit) -> float | None:
        """When intensive care began in a stay; None if it did not."""
        return self._intensive.get(visit.key)


_LABORATORY = reference("Organization", HOSPITAL)
