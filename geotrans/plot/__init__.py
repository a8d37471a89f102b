"""Figures with matplotlib: scenes side by side, differences, histograms, plans and places.

Every function takes `ax=` and returns the axes it drew on. A scene is whatever
`geotrans.open_scene` takes, or a dataset: a path, an array, `sample:NAME`, an open scene.
"""

from geotrans.plot.decorate import add_graticule, add_legend, add_scale_bar
from geotrans.plot.figures import compare, difference, histograms, places, plan, scene, sheet

__all__ = [
    "add_graticule",
    "add_legend",
    "add_scale_bar",
    "compare",
    "difference",
    "histograms",
    "places",
    "plan",
    "scene",
    "sheet",
]
