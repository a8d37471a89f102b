"""Translation of scenes: options and plans that decide pixels, and the work tile by tile."""

from geotrans.translation.job import Job

__all__ = ["Job"]
