"""Differential privacy: budgets, the ledger, DP-SGD with one clipped gradient a patient, released statistics."""
