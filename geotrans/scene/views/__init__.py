"""Scenes seen otherwise: on another grid, in colours, as classes, side by side."""
