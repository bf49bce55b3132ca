"""Pages, exhibits, tables: made from the files of finished audits, of nothing else."""

from score_mia.report.content import (
    AttackContent,
    NearestContent,
    PerturbedContent,
    ReportContent,
    Stepped,
)
from score_mia.report.files import load
from score_mia.report.page import make, remake, whole, write
from score_mia.report.table import table_text

__all__ = [
    "AttackContent",
    "NearestContent",
    "PerturbedContent",
    "ReportContent",
    "Stepped",
    "load",
    "make",
    "remake",
    "table_text",
    "whole",
    "write",
]
