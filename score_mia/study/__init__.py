"""A study: many audits side by side, and the tables and figures over them."""

from score_mia.study.config import EXHIBITS, Study, plan
from score_mia.study.exhibit import Built, Cell, Exhibit, Row, Strip, Table
from score_mia.study.finished import Finished
from score_mia.study.stages import describe, run

__all__ = [
    "EXHIBITS",
    "Built",
    "Cell",
    "Exhibit",
    "Finished",
    "Row",
    "Strip",
    "Study",
    "Table",
    "describe",
    "plan",
    "run",
]
