"""Attacks and privacy audits: membership, attribute inference, linkability, memorization."""
