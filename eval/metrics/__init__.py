"""Metrics: fidelity and utility figures, each with its real-vs-real baseline."""
