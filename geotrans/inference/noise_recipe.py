"""The ground-anchored noise in a few lines of NumPy, for those who have an ONNX file alone."""

from __future__ import annotations

# To the bit what `geotrans.grid.ground_noise` gives; a test holds that.
NOISE_RECIPE = '''\
import math
import numpy as np


def anchor(transform):
    """(row, col) of a raster's first pixel, counted in its pixels from the origin of its CRS.

    transform: a, b, c, d, e, f with x = a col + b row + c and y = d col + e row + f.
    """
    a, b, c, d, e, f = transform[:6]
    row, col = (d * c - a * f) / (a * e - b * d), (b * f - e * c) / (a * e - b * d)
    return -math.floor(row + 0.381966), -math.floor(col + 0.381966)


def noise(row, col, height, width, scales, seed=0):
    """Values in [-1, 1), float32 (len(scales), height, width).

    row, col: first pixel of the window, counted from the origin of the CRS: its position in the
        raster plus anchor(transform). Windows start on multiples of the network's stride there.
    """
    rows, cols = np.arange(row, row + height), np.arange(col, col + width)
    keys = [(seed * 0x9E3779B1 + s * 0x85EBCA77) % 2**32 for s in scales]
    return np.stack([_field(rows, cols, s, key) for s, key in zip(scales, keys)])


def _field(rows, cols, scale, key):
    if scale == 1:
        return _hash(rows, cols, key)
    i, j = rows // scale, cols // scale
    down = ((rows - i * scale) / scale).astype(np.float32)[:, None]
    right = ((cols - j * scale) / scale).astype(np.float32)
    nodes = _hash(np.arange(i[0], i[-1] + 2), np.arange(j[0], j[-1] + 2), key)
    i, j = i - i[0], j - j[0]
    lines = nodes[:, j] * (1 - right) + nodes[:, j + 1] * right
    return lines[i] * (1 - down) + lines[i + 1] * down


def _hash(rows, cols, key):
    r = _mix(rows.astype(np.uint32) ^ np.uint32(key))[:, None]
    c = _mix(cols.astype(np.uint32) + np.uint32(0x68E31DA4))
    return (_mix(r ^ c) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def _mix(bits):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> np.uint32(shift))) * np.uint32(factor)
    return bits ^ (bits >> np.uint32(16))
'''
