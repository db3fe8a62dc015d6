"""Linkage: consistency across modalities, cross-modal correlation, label recovery."""
