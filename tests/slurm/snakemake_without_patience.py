"""snakemake that looks at Slurm's queue every three seconds; the plugin waits ten seconds longer after each look in vain."""

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 3, lambda self, value: None)
sys.exit(main())
