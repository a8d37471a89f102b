"""A scene in, a product out: what decides its pixels, and the making of them tile by tile."""

from geotrans.translation.job import Job

__all__ = ["Job"]
