"""`thaw <command>`: finds the command and starts it."""

import argparse
import inspect
from importlib import import_module

from thaw.stage import in_terminal

COMMANDS = {
    "start": "put a recipe in params.yaml's place",
    "doctor": "say whether machine, data and remote are in order, and how to mend what is not",
    "plan": "say what `dvc repro` would run, and why",
    "review": "say what changed since a commit, for a pull request",
    "predict": "say what images show, by a trained model",
    "export": "write a trained model in another format",
    "repro": "run the pipeline, independent stages side by side",
}
"""Each is the module of that name, which is imported only when it is called."""


def main() -> None:
    """Start the command that the command line names; a `UserError` and Ctrl-C end it as they end a stage."""
    parser = argparse.ArgumentParser(
        prog="thaw",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Beside the commands of DVC.",
        epilog="commands:\n" + "\n".join(f"  {name:9} {what}" for name, what in COMMANDS.items()),
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="what to do; COMMAND --help says more")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    called = parser.parse_args()

    with in_terminal():
        command = import_module(f"commands.{called.command}")
        parser = argparse.ArgumentParser(prog=f"thaw {called.command}", description=inspect.getdoc(command.main))
        command.add_arguments(parser)
        command.main(**vars(parser.parse_args(called.arguments)))


if __name__ == "__main__":
    main()
