"""Shipped YAML: cohorts to draw and trainings to run."""
