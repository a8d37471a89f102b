"""Evaluation of translations on held-out places, compared with baselines without a network."""

from __future__ import annotations

from geotrans.evaluation.report import write_evaluation
from geotrans.evaluation.result import Evaluation
from geotrans.evaluation.run import evaluate

__all__ = ["Evaluation", "evaluate", "write_evaluation"]
