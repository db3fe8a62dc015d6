"""Governance: release, approval, certificate, verification, retention, Croissant card."""
