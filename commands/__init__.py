"""One module per command of `thaw`: `add_arguments` says what it takes, `main` does it."""

import argparse
import getpass
import os
import signal
import sys
from pathlib import Path

# In the script `thaw`, and under `python -m`, this runs before all other imports: Ctrl-C ends them without a traceback.
if Path(sys.argv[0]).name in ("-m", "thaw") and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

NAMELESS = False
"""Whether this is run by a number that is no user, as in a container: DVC asks for a user's name, and home."""
try:
    getpass.getuser()
except (KeyError, OSError):
    NAMELESS = True
    os.environ["LOGNAME"] = str(os.getuid())
try:
    Path.home()
except RuntimeError:
    os.environ["HOME"] = "/"


def whole_number(text: str) -> int:
    """Return an argument that is a number of things, at least one."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
