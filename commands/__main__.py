"""`thaw <command>`: finds the command and starts it."""

import argparse
import inspect
from importlib import import_module
from importlib.metadata import version
from typing import Any

from thaw.stage import in_terminal, refuse_special

COMMANDS = {
    "start": "put a recipe in params.yaml's place",
    "doctor": "say whether machine, data and remote are in order, and how to mend what is not",
    "plan": "say what `dvc repro` would run, and why",
    "review": "say what changed since a commit, for a pull request",
    "predict": "say what images show, by a trained model",
    "next": "say which images are the most worth labelling next",
    "export": "write a trained model in another format",
    "pack": "write a data set of many files as a few archives, for DVC",
    "repro": "run the pipeline, independent stages side by side",
    "rows": "compute a share of the rows of tensors or features, for several machines",
}
"""Each is the module of that name, which is imported only when it is called."""


class _Version(argparse.Action):
    """Prints the version, which is looked up only for whoever asks: code that is not installed has none."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"thaw {version('thaw')}")
        parser.exit()


def main() -> None:
    """Start the command that the command line names; a `UserError` and Ctrl-C end it as they end a stage."""
    parser = argparse.ArgumentParser(
        prog="thaw",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Beside the commands of DVC.",
        epilog="commands:\n" + "\n".join(f"  {name:9} {what}" for name, what in COMMANDS.items()),
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print which Thaw this is")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="what to do; COMMAND --help says more")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    with in_terminal():  # also what --help and --version print
        called = parser.parse_args()
        command = import_module(f"commands.{called.command}")
        parser = argparse.ArgumentParser(prog=f"thaw {called.command}", description=inspect.getdoc(command.main))
        command.add_arguments(parser)
        if "" in called.arguments:  # as a path, it would be the folder that one is in
            parser.error("an argument is empty; see whether a variable is not set")
        arguments = vars(parser.parse_args(called.arguments))
        refuse_special(arguments.values())
        command.main(**arguments)


if __name__ == "__main__":
    main()
