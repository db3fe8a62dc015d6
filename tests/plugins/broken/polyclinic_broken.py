"""Modalities that cannot be used: one raises, one lacks methods, one has another name, one other types."""

from polyclinic_wearable import Wearable


class Crashing:
    def __init__(self):
        raise RuntimeError("no sensor")


class Lacking:
    name = "lacking"
    after = ()
    indication = "nobody"

    def export(self, records):
        return []


class Misnamed(Wearable):
    pass


class Mistyped(Wearable):
    name = "mistyped"
    shared = "no"
