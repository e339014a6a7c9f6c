"""How a run looks on the terminal: a line a job, as it starts, with its number and what it does.

Snakemake finds this package by its name, and profiles/default switches it on (`logger: cladeclip`). Plans (`-n`), errors and
the file below .snakemake/log look as Snakemake makes them.
"""

import sys
import time
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

# What says no more than the line of the job: how far it is, which cores there are, that a job ended well.
LEFT_OUT = {
    LogEvent.JOB_STARTED,
    LogEvent.JOB_FINISHED,
    LogEvent.PROGRESS,
    LogEvent.RESOURCES_INFO,
    LogEvent.WORKFLOW_STARTED,
}
CHATTER = (
    "Select jobs to execute",
    "Execute ",
    "Storing output",
    "Conda environments: ignored",
    "Using profile",
)


class LogHandler(LogHandlerBase):
    """Writes records to the terminal (standard error) as they come."""

    writes_to_stream = True
    writes_to_file = False
    # Snakemake's own filter and formatter, for what is not a line of a job.
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.total, self.start = 0, time.monotonic()

    def emit(self, record: LogRecord) -> None:
        text = self.shown(record)
        if text:
            stream = sys.stdout if self.common_settings.stdout else sys.stderr
            try:
                print(text, file=stream, flush=True)
            except BrokenPipeError:
                raise
            except Exception:
                self.handleError(record)

    def shown(self, record: LogRecord) -> str:
        """The text of a record; empty for what is left out."""
        event, fields = getattr(record, "event", None), record.__dict__
        if self.common_settings.dryrun or self.common_settings.verbose:
            return self.format(record)
        if event == LogEvent.RUN_INFO and "stats" in fields:
            self.total, self.start = fields["stats"].get("total", 0), time.monotonic()
            return f"{self.total} jobs to do."
        if event == LogEvent.JOB_INFO:
            # A job that is tried again keeps its number.
            number = self.numbers.setdefault(fields["jobid"], len(self.numbers) + 1)
            words = (fields.get("rule_msg") or fields["rule_name"]).strip()
            return f"{clock(time.monotonic() - self.start)}  {number:>{len(str(self.total))}} of {self.total}  {words}"
        if event in LEFT_OUT or (event is None and str(record.msg).startswith(CHATTER)):
            return ""
        return self.format(record)


def clock(seconds: float) -> str:
    """h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
