"""Study: when an image or an ECG was made, its UID and its accession number, the same in every file that names it."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from hashlib import blake2b

from .modality import Facts

UTC_OFFSET = "+0000"  # every clock of a cohort: what DICOM calls Timezone Offset From UTC, FHIR's Z
_SERIES, _CONTENT = timedelta(minutes=1), timedelta(minutes=2)


@dataclass(frozen=True)
class Study:
    """UID, accession number and, where the patient has a calendar, when the study began (UTC, to the second)."""

    uid: str
    accession: str
    begins: datetime | None

    @classmethod
    def of(cls, facts: Facts, day: date | None) -> "Study | None":
        """Of a record with these facts, of a patient with that index date; None unless it was identified.

        The same UID on the same day gives the same study. It begins between 07:00 and 19:00.
        """
        if (uid := facts.get("study_uid")) is None:
            return None
        token = blake2b(uid.encode(), digest_size=6)
        seconds = int.from_bytes(token.digest(), "big") % (12 * 3600)
        begins = None if day is None else datetime.combine(day, time(7)) + timedelta(seconds=seconds)
        return cls(uid, f"SYN{token.hexdigest()}", begins)

    @property
    def series_begins(self) -> datetime | None:
        """A minute later."""
        return self.begins and self.begins + _SERIES

    @property
    def taken(self) -> datetime | None:
        """When the image was exposed or the ECG's first sample recorded: two minutes after the study began."""
        return self.begins and self.begins + _CONTENT


def chart_begins(day: date) -> datetime:
    """When the vitals of a patient with that index date begin: at its midnight, UTC."""
    return datetime.combine(day, time())
