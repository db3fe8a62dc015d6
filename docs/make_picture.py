"""The picture of README: one synthetic patient drawn from the shipped weights, as docs/img/patient.png.

    python docs/make_picture.py

The patient is the first of the cohort `cardio_oncology`, seed 7, with a basal-like tumour. No real record is shown.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from polyclinic import Patient, Population, ProfileEncoder, generate, load_modality

SEED, COHORT, OTHERS = 7, 60, 23
OUT = Path(__file__).parent / "img" / "patient.png"
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
RATE = 500  # samples a second
VITALS = (
    (0, "heart rate, /min"),
    (3, "systolic, mmHg"),
    (5, "diastolic, mmHg"),
    (6, "respiration, /min"),
    (1, "SpO2, %"),
)
GENES = (
    "ESR1", "PGR", "GATA3", "FOXA1", "XBP1", "AGR2", "BCL2", "ERBB2", "MKI67", "TOP2A", "CCNB1", "BIRC5", "KRT5",
    "KRT14", "KRT17", "FOXC1", "EGFR", "CDH3", "VIM", "CD8A", "CD2", "COL1A1", "ADIPOQ",
)  # fmt: skip


def main() -> None:
    """Draw the cohort's tumours, choose the patient, draw her other records, and write the picture."""
    profiles = list(Population.load("cardio_oncology").draw(COHORT, seed=SEED))
    encoder = ProfileEncoder()
    tumours = [
        p for p in generate(profiles, [load_modality("omics")], encoder, seed=SEED) if "omics" in p.records
    ]
    chosen = next(p for p in tumours if p.records["omics"].facts["pam50"] == "Basal")
    modalities = [load_modality(name) for name in ("imaging", "signals", "omics")]
    patient = next(iter(generate([chosen.profile], modalities, encoder, seed=SEED)))
    others = [p for p in tumours if p is not chosen][:OTHERS]

    plt.rcParams.update({"font.size": 8, "axes.titlesize": 9, "axes.titlelocation": "left"})
    figure = plt.figure(figsize=(11, 6.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.05, 1))
    image, ecg = top.subplots(1, 2, width_ratios=(1, 2.6))
    vitals, heat = bottom.subplots(1, 2, width_ratios=(1, 1.25))
    xray(image, patient)
    strips(ecg, patient)
    chart(vitals, patient)
    expression(heat, patient, others)
    p = patient.profile
    figure.suptitle(
        f"One synthetic patient: {p.age:.0f}-year-old {'woman' if p.sex == 'F' else 'man'} with breast cancer",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, dpi=110, pil_kwargs={"optimize": True}, metadata={"Software": None})
    print(OUT, OUT.stat().st_size)


def xray(axis: Axes, patient: Patient) -> None:
    """The image as a viewer shows it."""
    record = patient.records["imaging"]
    axis.imshow(record.arrays["image"], cmap="gray", vmin=0, vmax=4095)
    axis.set(title=f"Chest X-ray, {record.facts['view']} view (DICOM)", xticks=[], yticks=[])


def strips(axis: Axes, patient: Patient) -> None:
    """Twelve leads of 2.5 s in the usual order, above a rhythm strip of lead II, on 5 mm paper (0.2 s, 0.5 mV)."""
    record = patient.records["signals"]
    ecg = record.arrays["ecg"]  # (lead, sample) mV
    rows, span = 3, 2.5
    heights = [0.0, -2.6, -5.2, -7.8]
    for k, lead in enumerate(LEADS):
        column, row = divmod(k, rows)
        part = slice(int(column * span * RATE), int((column + 1) * span * RATE))
        axis.plot(np.arange(part.start, part.stop) / RATE, ecg[k, part] + heights[row], color="black", lw=0.6)
        axis.text(column * span + 0.05, heights[row] + 0.9, lead, fontsize=7)
    axis.plot(np.arange(ecg.shape[1]) / RATE, ecg[1] + heights[3], color="black", lw=0.6)
    axis.text(0.05, heights[3] + 0.9, "II", fontsize=7)
    axis.set(xlim=(0, 10), ylim=(-9.3, 1.6), xticks=np.arange(0, 10.01, 0.2), yticks=np.arange(-9, 1.6, 0.5))
    axis.grid(color="#f3b8b8", lw=0.4)
    axis.tick_params(length=0, labelbottom=False, labelleft=False)
    rhythm = str(record.facts["rhythm"]).replace("_", " ")
    axis.set_title(
        f"12-lead ECG, {rhythm}, {record.facts['heart_rate']:.0f} /min (WFDB; a square is 0.2 s and 0.5 mV)"
    )


def chart(axis: Axes, patient: Patient) -> None:
    """What was charted, hour by hour."""
    vitals = patient.records["signals"].arrays["vitals"]  # (hour, channel)
    hours = np.arange(len(vitals))
    for channel, name in VITALS:
        there = np.isfinite(vitals[:, channel])
        axis.plot(hours[there], vitals[there, channel], marker="o", ms=2.5, lw=1, label=name)
    axis.set(title="Vital signs of the first day (WFDB)", xlabel="hour", xlim=(-0.5, 23.5), ylim=(0, None))
    axis.grid(color="0.9", lw=0.5)
    axis.legend(fontsize=6.5, ncols=3, loc="lower center", frameon=False, bbox_to_anchor=(0.5, 0.13))


def expression(axis: Axes, patient: Patient, others: list[Patient]) -> None:
    """The patient's tumour beside others of the cohort; each gene less its mean over them."""
    record = patient.records["omics"]
    place = {gene: i for i, gene in enumerate(record.arrays["rna_var"])}
    genes = [gene for gene in GENES if gene in place]
    rest = sorted(others, key=lambda p: str(p.records["omics"].facts["pam50"]))
    values = np.array([[p.records["omics"].arrays["rna"][place[g]] for g in genes] for p in (patient, *rest)])
    shown = axis.imshow((values - values.mean(0)).T, cmap="RdBu_r", vmin=-4, vmax=4, aspect="auto")
    axis.axvline(0.5, color="black", lw=1.5)
    labels = ["this patient", *(str(p.records["omics"].facts["pam50"]) for p in rest)]
    axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6)
    axis.set_yticks(range(len(genes)), genes, fontsize=5.5)
    axis.set_title(
        f"Tumour expression, PAM50 {record.facts['pam50']} (AnnData zarr), and of {len(rest)} other patients"
    )
    axis.figure.colorbar(shown, ax=axis, label="log2, less the mean", pad=0.01)


if __name__ == "__main__":
    main()
