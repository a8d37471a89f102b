"""Photographs into classes: recipes of fixed rules, and the scenes they make of a photograph."""

from geotrans.labelling.label import label

__all__ = ["label"]
