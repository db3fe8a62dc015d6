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
# # Readmission within 30 days, from MEDS events
#
# The health records of a cohort as events of the Medical Event Data Standard, and a label with the time at which the
# prediction is made: one row a discharge.

# %%
import matplotlib.pyplot as plt
import pandas as pd

import polyclinic as pc

settings = {"records": {"formats": ["meds"]}}
pc.generate_cohort("general_ward", 40, out="ward", seed=7, modalities=["records"], options=settings)
events = pd.read_parquet("ward/meds/data")
events[["subject_id", "time", "code", "numeric_value"]].head(8)

# %% [markdown]
# A stay begins with `VISIT//IMP//START` and ends with `VISIT//IMP//END`. A patient who died in the stay gets no label.

# %%
starts = events[events.code == "VISIT//IMP//START"].groupby("subject_id").time.apply(list)
ends = events[events.code == "VISIT//IMP//END"]
deaths = events[events.code == "MEDS_DEATH"].set_index("subject_id").time
rows = []
for subject, left in zip(ends.subject_id, ends.time, strict=True):
    if subject in deaths.index and deaths[subject] <= left:
        continue
    again = any(left < start <= left + pd.Timedelta(days=30) for start in starts[subject])
    rows.append({"subject_id": subject, "prediction_time": left, "boolean_value": again})
labels = pd.DataFrame(rows).sort_values(["subject_id", "prediction_time"])
print(f"{len(labels)} discharges, {labels.boolean_value.sum()} of them with a stay within 30 days")

# %% [markdown]
# What was known at discharge: events up to the prediction time, as counts of each code.

# %%
known = labels.merge(events[["subject_id", "time", "code"]], on="subject_id")
known = known[known.time <= known.prediction_time]
features = known.groupby(["subject_id", "prediction_time", "code"]).size().unstack(fill_value=0)
assert len(features) == len(labels)
events_before = features.sum(axis=1).to_numpy()
again = labels.boolean_value.to_numpy()
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
left.bar(["no", "yes"], [(~again).sum(), again.sum()])
left.set(title="Stay within 30 days", ylabel="discharges")
right.hist([events_before[~again], events_before[again]], label=["no", "yes"])
right.set(title="Events before discharge", xlabel="events", ylabel="discharges")
right.legend()
