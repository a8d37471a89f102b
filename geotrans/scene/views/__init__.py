"""Views of scenes: on another grid, as colours, as classes, in pairs."""
