"""Which loader is fastest here: measure, record, judge, report. Only measuring touches the machine.

Every measuring process imports this package, and on Windows each of its workers does too. So matplotlib, Jinja
and the trainer are imported where they are used: their time and memory would be measured along.
"""

from .bench import BenchResult, Failure, Plan, bench, default_workers
from .complaints import complaints
from .environment import Environment, Machine, capture
from .measure import Expected, Measurement, Window, measure
from .plot import write_plot
from .records import Record, read_record, read_records, write_record
from .report import render_report, write_report
from .tables import Row, Table, Verdict, tabulate
from .training import TrainingRun, read_run

__all__ = [
    "BenchResult",
    "Environment",
    "Expected",
    "Failure",
    "Machine",
    "Measurement",
    "Plan",
    "Record",
    "Row",
    "Table",
    "TrainingRun",
    "Verdict",
    "Window",
    "bench",
    "capture",
    "complaints",
    "default_workers",
    "measure",
    "read_record",
    "read_records",
    "read_run",
    "render_report",
    "tabulate",
    "write_plot",
    "write_record",
    "write_report",
]
