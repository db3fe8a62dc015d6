"""anonymeter's three risks of a table, run by the interpreter of its own environment (it asks for numpy below 2):

    python privacy_anonymeter.py IN.npz OUT.json

IN holds codes (patient, column) of three tables: train, control, synthetic. OUT gets, for singling out, linkability
and inference, the risk beyond what the same attack reaches on control patients, with its 95 % interval (Giomi et al.
2023). Columns are split in turn for linkability; the last column is the secret of inference.
"""

import json
import sys
from pathlib import Path

import numpy as np

ATTACKS = 400


def main():
    """Run all three."""
    import pandas as pd
    from anonymeter.evaluators import InferenceEvaluator, LinkabilityEvaluator, SinglingOutEvaluator

    given = np.load(sys.argv[1])
    names = [f"c{k}" for k in range(given["train"].shape[1])]
    train, control, synthetic = (
        pd.DataFrame(given[key], columns=names) for key in ("train", "control", "synthetic")
    )
    tables = {"ori": train, "syn": synthetic, "control": control, "n_attacks": ATTACKS}
    evaluators = {
        "singling out": (
            SinglingOutEvaluator(**tables, n_cols=5, seed=0),
            {"mode": "multivariate"},
        ),
        "linkability": (
            LinkabilityEvaluator(**tables, aux_cols=(names[::2], names[1::2]), n_neighbors=10),
            {"n_jobs": 1},
        ),
        "inference": (
            InferenceEvaluator(**tables, aux_cols=names[:-1], secret=names[-1]),
            {"n_jobs": 1},
        ),
    }
    found = {}
    for name, (evaluator, how) in evaluators.items():
        np.random.seed(0)  # it samples its targets through pandas' global source
        evaluator.evaluate(**how)
        risk = evaluator.risk(confidence_level=0.95)
        found[name] = [float(risk.value), *(float(end) for end in risk.ci)]
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
