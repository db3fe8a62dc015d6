"""Formats of wearables: files that other programs open, each an entry point `wearable.<name>`."""
