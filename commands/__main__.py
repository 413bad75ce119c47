"""`thaw <command>`: the command's module is imported only when it is called."""

import argparse
import importlib
import sys

from thaw.errors import UserError

COMMANDS = {
    "plan": "say what `dvc repro` would run, and why",
    "review": "say what changed since a commit, for a pull request",
}


def main() -> None:
    """Call the command that is named on the command line; a `UserError` ends it with its message alone."""
    parser = argparse.ArgumentParser(prog="thaw", description="Beside DVC's own commands.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    name, arguments = parser.parse_known_args(sys.argv[1:2])[0].command, sys.argv[2:]
    try:
        importlib.import_module(f"commands.{name}").main(arguments)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
