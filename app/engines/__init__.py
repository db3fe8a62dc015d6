"""Engines: where the slices of a cohort are drawn."""
