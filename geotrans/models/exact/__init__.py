"""Layers rewritten so that a window's pixels never depend on the window's size."""
