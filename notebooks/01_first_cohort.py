# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first cohort
#
# Ten synthetic patients from the weights that ship with Polyclinic: who they are, what one of them looks
# like in every modality, and whether the modalities agree with each other.

# %%
import matplotlib.pyplot as plt
import numpy as np

from polyclinic import Population, ProfileEncoder, generate, load_modality

population = Population.load("cardio_oncology")
profiles = list(population.draw(10, seed=7))
for p in profiles:
    present = sorted(code for code, there in p.conditions.items() if there)
    print(p.patient_id, f"{p.age:.0f} {p.sex}", p.traits.get("pam50", "no tumour"), *present)

# %% [markdown]
# `generate` is the one loop that everything else uses. It yields patients one by one; each record depends on the
# patient's own profile and seed, and on nothing else.

# %%
modalities = [load_modality(name) for name in ("imaging", "signals", "omics", "records")]
patients = list(generate(profiles, modalities, ProfileEncoder(), seed=7))
patient = next(p for p in patients if "omics" in p.records)
print(patient.profile)

# %% [markdown]
# ## One patient across the modalities

# %%
ecg, vitals = patient.records["signals"].arrays["ecg"], patient.records["signals"].arrays["vitals"]
rna = patient.records["omics"].arrays
figure, axes = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
axes[0, 0].imshow(patient.records["imaging"].arrays["image"], cmap="gray", vmin=0, vmax=4095)
axes[0, 0].set(title=f"Chest X-ray, {patient.records['imaging'].facts['view']}", xticks=[], yticks=[])
seconds = np.arange(ecg.shape[1]) / 500
for k, (lead, name) in enumerate(((1, "II"), (6, "V1"), (10, "V5"))):
    axes[0, 1].plot(seconds, ecg[lead] - 2 * k, lw=0.7)
    axes[0, 1].text(-0.6, -2 * k, name)
axes[0, 1].set(
    title=f"ECG, {patient.records['signals'].facts['rhythm']}, {patient.records['signals'].facts['heart_rate']} /min",
    xlabel="s",
    yticks=[],
)
for channel, name in ((0, "heart rate /min"), (3, "systolic mmHg"), (1, "oxygen saturation %")):
    axes[1, 0].plot(vitals[:, channel], marker="o", ms=3, label=name)
axes[1, 0].set(title="First day", xlabel="hour")
axes[1, 0].legend()
genes = ["ESR1", "PGR", "ERBB2", "MKI67", "KRT5", "FOXC1"]
place = {gene: i for i, gene in enumerate(rna["rna_var"])}
axes[1, 1].bar(genes, [rna["rna"][place[g]] for g in genes])
axes[1, 1].set(title=f"Tumour expression, {patient.records['omics'].facts['pam50']}", ylabel="log2 RSEM")

# %% [markdown]
# ## The same patient in the health record
#
# The record states what was measured on the other records: the heart rate is that of this trace.

# %%
resources = patient.records["records"].facts["resources"]
for r in resources:
    if r["resourceType"] == "DiagnosticReport":
        print(r["code"].get("text", r["code"]["coding"][0]["display"]), "-", r.get("conclusion"))
rate = next(
    r["valueQuantity"]["value"]
    for r in resources
    if r["resourceType"] == "Observation"
    and r["code"]["coding"][0]["code"] == "8867-4"
    and abs(r["valueQuantity"]["value"] - patient.records["signals"].facts["heart_rate"]) < 3
)
assert abs(rate - patient.records["signals"].facts["heart_rate"]) < 3

# %% [markdown]
# ## Steering: the same patient, one thing changed
#
# A field that is changed changes the records; all else keeps its random stream.

# %%
twins = [
    patient.profile.but(conditions={"I48.91": af}, measurements={"heart_rate": 96.0}) for af in (False, True)
]
pair = list(generate(twins, [load_modality("signals")], ProfileEncoder(), seed=7))
figure, axes = plt.subplots(2, 1, figsize=(12, 4), sharex=True, layout="constrained")
for axis, twin in zip(axes, pair, strict=True):
    axis.plot(seconds, twin.records["signals"].arrays["ecg"][1], lw=0.7)
    axis.set(title=twin.records["signals"].facts["rhythm"], ylabel="II, mV")
intervals = [np.diff(t.records["signals"].arrays["r_peaks"]) for t in pair]
assert np.std(intervals[1]) > np.std(intervals[0])
