"""What a trace shows as SNOMED CT codes: the `#Dx` line of WFDB headers, as the PhysioNet challenges write it."""

from collections import Counter

from ....core.modality import Record
from ..layout import FIBRILLATION, FLUTTER, SINUS, beats_of, rhythms

# The scored diagnoses of the PhysioNet/CinC Challenge 2021 (Reyna et al., Computing in Cardiology 48, 2021)
RHYTHM = {SINUS: "426783006", FIBRILLATION: "164889003", FLUTTER: "164890007"}
TACHYCARDIA, BRADYCARDIA = "427084000", "426177001"  # sinus, in place of a normal one
FAST, SLOW = 100, 60  # beats a minute
BEATS = {"V": "427172004", "A": "284470004"}  # premature ventricular and atrial contractions
CONDUCTION = {"L": "164909002", "R": "59118001", "/": "10370003"}  # bundle branch blocks, pacing


def codes_of(record: Record) -> list[str]:
    """Rhythms in their order, conduction if most beats have it, premature beats if there is one.

    Of the trace alone: a diagnosis of the profile that it does not show is not listed.
    """
    facts, samples = record.facts, record.arrays["ecg"].shape[1]
    names = list(dict.fromkeys(name for _, _, name in rhythms(facts, samples)))
    beats = Counter(kind for _, kind in beats_of(record))
    found = [RHYTHM[name] for name in names]
    rate = facts.get("heart_rate")
    if names == [SINUS] and rate is not None and not SLOW <= rate <= FAST:
        found = [TACHYCARDIA if rate > FAST else BRADYCARDIA]
    usual = [code for kind, code in CONDUCTION.items() if 2 * beats[kind] > beats.total()]
    return [*found, *usual, *(code for kind, code in BEATS.items() if beats[kind])]


def dx_lines(record: Record) -> list[str]:
    """The `#Dx` line; none for a trace whose rhythm nobody states. Programs look for it without a space."""
    found = codes_of(record)
    return [f"#Dx: {','.join(found)}"] if found else []
