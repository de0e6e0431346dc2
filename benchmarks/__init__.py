"""Which loader is fastest here: measure, record, judge, report. Only measuring touches the machine.

Every measuring process imports this package, and on Windows each of its workers does too. So matplotlib, Jinja
and the trainer are imported where they are used: their time and memory would be measured along.
"""

from .bench import BenchResult, Failure, bench
from .cache import evict, files_read, resident_fraction, warm
from .complaints import complaints
from .environment import Environment, Machine, capture
from .measure import Expected, Measurement, Window, measure
from .plan import Plan, default_workers
from .plot import write_plot
from .records import Record, read_record, read_records, write_record
from .report import render_report, write_report
from .spreadsheet import write_spreadsheet
from .storage import storage_of
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
    "evict",
    "files_read",
    "measure",
    "read_record",
    "read_records",
    "read_run",
    "render_report",
    "resident_fraction",
    "storage_of",
    "tabulate",
    "warm",
    "write_plot",
    "write_record",
    "write_report",
    "write_spreadsheet",
]
