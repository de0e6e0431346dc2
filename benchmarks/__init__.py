"""Which loader is fastest here: measure, record, judge, report. Only measuring touches the machine.

Every measuring process imports this package, and on Windows each of its workers does too. So matplotlib, Jinja
and the trainer are imported where they are used: their time and memory would be measured along.
"""

from .bench.bench import BenchResult, FailedConfiguration, bench
from .bench.plan import Plan, default_workers
from .machine.cache import evict, files_read, resident_fraction, warm
from .machine.environment import Environment, Machine, capture
from .machine.storage import storage_of
from .measuring.measure import Expected, Measurement, Window, measure
from .measuring.record import Record, read_record, read_records, write_record
from .report.report import render_report, write_report
from .report.training import TrainingRun, read_run
from .results.complaints import complaints
from .results.plot import write_plot
from .results.ranking import Fastest, Ranking, Row, tabulate
from .results.spreadsheet import write_spreadsheet

__all__ = [
    "BenchResult",
    "Environment",
    "Expected",
    "FailedConfiguration",
    "Fastest",
    "Machine",
    "Measurement",
    "Plan",
    "Ranking",
    "Record",
    "Row",
    "TrainingRun",
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
