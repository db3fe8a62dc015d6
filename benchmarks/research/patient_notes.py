"""For patient.py: what notes cost, whether they state the record, whether a tagger learns from them."""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from polyclinic import Batch
from polyclinic.core.modality import Record
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.case import Case
from polyclinic.modalities.records.notes.consistency import contradictions

Row = dict[str, Any]
HELD_OUT = 30  # authors of a department from this number on are read, not learnt from
_TOKEN = re.compile(r"\w+|[^\w\s]")


def cost(batch: Batch) -> float:
    """Processor seconds that notes add to a thousand records, drawn and written, against the same without them."""
    modality = Records()
    rules = modality.generator(())

    def spent() -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            modality.export(rules.sample(batch), batch.profiles, Path(folder))
            return time.process_time() - began

    spent()
    both = [spent() for _ in range(3)]
    with patch("polyclinic.modalities.records.model.notes_of", lambda *known: []):
        bare = [spent() for _ in range(3)]
    return (min(both) - min(bare)) / len(batch) * 1000


def misstated(records: Sequence[Record]) -> tuple[int, int, int]:
    """Statements of notes that the record does not bear out, statements in all, notes."""
    wrong = spans = notes = 0
    for record in records:
        case = Case(record.facts["resources"])
        for note in record.facts["notes"]:
            wrong += sum(1 for _ in contradictions(note, case))
            spans += len(note["spans"])
            notes += 1
    return wrong, spans, notes


def distinct(records: Sequence[Record], kind: str) -> float:
    """Share of the notes of a kind that are unlike all others when what they state is blanked out."""
    bare: Counter[str] = Counter()
    for record in records:
        for note in record.facts["notes"]:
            if note["meta"]["kind"] == kind:
                text = list(note["text"])
                for span in note["spans"]:
                    text[span["start"] : span["end"]] = "#" * (span["end"] - span["start"])
                bare[re.sub("#+", "#", "".join(text))] += 1
    return sum(1 for count in bare.values() if count == 1) / max(1, sum(bare.values()))


def tagging(records: Sequence[Record]) -> tuple[float, float]:
    """F1 over labelled words of a linear tagger, on notes of patients and authors that it has not seen.

    The second figure is that of a table of the commonest label of each word, without context.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import SGDClassifier

    notes = [(i, note) for i, record in enumerate(records) for note in record.facts["notes"]]
    learn = [t for i, n in notes if i % 3 and _hand(n) < HELD_OUT for t in _tokens(n)]
    read = [t for i, n in notes if i % 3 == 0 and _hand(n) >= HELD_OUT for t in _tokens(n)]
    vectors = DictVectorizer(dtype=np.float32)
    model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=8, tol=None, random_state=0)
    model.fit(_narrow(vectors.fit_transform([f for f, _ in learn])), [label for _, label in learn])
    said = model.predict(_narrow(vectors.transform([f for f, _ in read])))
    by_word: dict[str, Counter[str]] = {}
    for features, label in learn:
        by_word.setdefault(features["word"], Counter())[label] += 1
    table = [by_word[f["word"]].most_common(1)[0][0] if f["word"] in by_word else "" for f, _ in read]
    true = [label for _, label in read]
    return _f1(true, list(said)), _f1(true, table)


def _narrow(matrix: Any) -> Any:
    """The sparse matrix with indices of 32 bits, which linear models ask for."""
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return matrix


def _hand(note: Row) -> int:
    return int(note["meta"]["author"].rpartition("-")[2])


def _tokens(note: Row) -> Iterator[tuple[Row, str]]:
    """Features and label of each word: itself, its shape and end, its neighbours."""
    found = list(_TOKEN.finditer(note["text"]))
    words = ["<", "<", *(m[0].lower() for m in found), ">", ">"]
    label = np.full(len(note["text"]) + 1, "", dtype="U10")
    for span in note["spans"]:
        label[span["start"] : span["end"]] = span["label"]
    for i, match in enumerate(found):
        shape = re.sub(r"\d", "9", re.sub("[a-z]", "a", re.sub("[A-Z]", "A", match[0])))[:6]
        near = {f"{step:+d}": words[i + 2 + step] for step in (-2, -1, 1, 2)}
        yield (
            {"word": words[i + 2], "shape": shape, "end": words[i + 2][-3:], **near},
            str(label[match.start()]),
        )


def _f1(true: Sequence[str], said: Sequence[str]) -> float:
    """Micro F1 over words that carry a label."""
    hit = sum(t == s != "" for t, s in zip(true, said, strict=True))
    return 2 * hit / max(1, sum(t != "" for t in true) + sum(s != "" for s in said))
