"""How good translations are on places no network has seen, beside what needs no network."""

from __future__ import annotations

from geotrans.evaluation.run import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
