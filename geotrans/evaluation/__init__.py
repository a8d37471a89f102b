"""How good translations are on places no network has seen, beside what needs no network."""

from __future__ import annotations

from geotrans.evaluation.report import write_evaluation
from geotrans.evaluation.result import Evaluation
from geotrans.evaluation.run import evaluate

__all__ = ["Evaluation", "evaluate", "write_evaluation"]
