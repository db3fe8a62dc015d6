"""The roof: ways in. May see everything; nothing imports it."""
