"""The report: one page to mail, figures and tables to cite, a terminal table."""

from score_mia.report.content import (
    AttackContent,
    ColumnContent,
    NearestContent,
    PerturbedContent,
    ReportContent,
)
from score_mia.report.page import write
from score_mia.report.table import table_text

__all__ = [
    "AttackContent",
    "ColumnContent",
    "NearestContent",
    "PerturbedContent",
    "ReportContent",
    "table_text",
    "write",
]
