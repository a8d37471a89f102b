"""Classes from photographs: recipes of fixed rules, and class scenes made by them."""

from geotrans.labelling.label import label

__all__ = ["label"]
