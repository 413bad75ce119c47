"""One module per stage: files and entries of params.yaml in, one story, files out."""

import os
import signal
import sys

# Under `python -m`, this runs before the stage's own imports, which take seconds: Ctrl-C ends them without a traceback.
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

# And this has what is set for libraries forgotten before a stage imports one of them.
import thaw as thaw
