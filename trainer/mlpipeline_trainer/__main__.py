"""`python -m mlpipeline_trainer`."""

import os
import sys

from .cli import main
from .errors import ExitCode

code = main()
if code == ExitCode.TERMINATED:
    # Threads and children of the user's must not hold up a pod that is to go.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
