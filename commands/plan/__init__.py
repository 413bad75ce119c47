"""`thaw plan`: say what `dvc repro` would run, and why."""

import argparse
import json
import shlex
from dataclasses import asdict
from itertools import takewhile

from commands import lock, pipeline
from commands.plan.steps import RUNNING, Action, Kind, Plan, Reason, Step, outdated, plan
from commands.tables import table_lines
from thaw.errors import UserError, printable
from thaw.stage import durations

LONGEST_VALUE = 60
"""Characters of a parameter's value that are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--base", metavar="REV", help="give the reasons against this commit, not the last run")
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail if dvc.lock is not up to date; its results need not be here, nor a remote",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print JSON")
    form.add_argument("--md", dest="form", action="store_const", const="md", help="print Markdown")


def main(base: str | None = None, form: str | None = None, check: bool = False) -> None:
    """Say which stages `dvc repro` would run, why, and for how long; nothing has to be pulled for it.

    A stage `may run` if what it reads comes from one that runs: it does if that then writes something else than before.
    """
    pipeline.require_valid_params()
    reference = lock.stages_at(base) if base else None
    with pipeline.opened() as repo:
        found = plan(repo, reference, obtainable=check)
    seconds = _seconds(found.steps)
    print(printable(plan_as_json(found, seconds) if form == "json" else plan_as_text(found, seconds, form == "md")))
    if check and (stages := outdated(found)):
        raise UserError(f"dvc.lock is not up to date for {', '.join(stages)}; `dvc repro`, then commit what it changed")


def plan_as_json(found: Plan, seconds: dict[str, float | None]) -> str:
    """Return a plan as JSON."""
    steps = [
        {
            "stage": step.stage,
            "action": step.action,
            "reasons": [asdict(reason) for reason in step.reasons],
            "seconds": seconds[step.stage],
        }
        for step in found.steps
    ]
    tree = {"stages": steps, "command": command(found), "fetched": found.fetched, "missing": found.missing}
    return json.dumps(tree, indent=2, default=str)  # a stage of a user's own may have dates among its parameters


def command(found: Plan) -> str:
    """Return the command that does what was planned."""
    pull = " --pull" if found.has_remote else ""
    return f"dvc repro{pull} --allow-missing" if found.incomplete else "dvc repro"


def plan_as_text(found: Plan, seconds: dict[str, float | None], markdown: bool) -> str:
    """Return a plan as text, or with a Markdown table."""
    told = [step for step in found.steps if step.action is not Action.NOTHING or step.reasons]
    rows = [[step.stage, says(step), "\n".join(says_why(reason) for reason in certain_reasons(step))] for step in told]
    lines = [*table_lines(["stage", "", "because"], rows, markdown), ""] if rows else []
    rest = len(found.steps) - len(rows)
    lines.append(f"{rest} of {len(found.steps)} stages {'stays as it is' if rest == 1 else 'stay as they are'}.")
    lines += times(found.steps, seconds)
    if found.fetched:
        lines.append(f"Not here, but needed: `{shlex.join(['dvc', 'pull', *found.fetched])}`.")
    if found.missing:
        lines.append(f"Not here, and not known to DVC: {', '.join(found.missing)}.")
    if found.uncommitted:
        commit = shlex.join(["dvc", "commit", *found.uncommitted])
        text = f"`{commit}` puts it into DVC's cache, and `make repro` and `thaw repro` do so, too"
        lines.append(f"What is here need not be made again: {text}.")
    if found.incomplete:
        lines.append(f"Since not all is here, the command is `{command(found)}`.")
    return "\n".join(lines)


def says(step: Step) -> str:
    """Return what becomes of a stage; with a base, it may have run since."""
    return "has run" if step.action is Action.NOTHING else str(step.action)


def certain_reasons(step: Step) -> list[Reason]:
    """Return a step's reasons; if it runs in any case, without those that are not certain."""
    certain = [reason for reason in step.reasons if reason.kind is not Kind.AWAITED]
    return certain if step.action is Action.RUN else step.reasons


def says_why(reason: Reason) -> str:
    """Return a reason in words."""
    match reason.kind:
        case Kind.STAGE:
            return "is new"
        case Kind.COMMAND:
            return "its command in dvc.yaml changed"
        case Kind.PARAMETER:
            return f"{reason.name}: {_change(reason.old, reason.new)}"
        case Kind.FILE:
            return f"{reason.name} is new" if reason.old is None else f"{reason.name} changed"
        case Kind.RESULT:
            return f"{reason.name} changed (by {reason.stage})" if reason.stage else f"{reason.name} changed"
        case Kind.AWAITED:
            return f"if {reason.name} changes (by {reason.stage})"
        case Kind.OUTPUT:
            return f"{reason.name} is gone, or not what the stage wrote"
        case Kind.UNCACHED:
            return f"{reason.name} is here, but not in DVC's cache"
        case Kind.ALWAYS:
            return "runs each time"


def times(steps: list[Step], seconds: dict[str, float | None]) -> list[str]:
    """Return, in a line, how long what runs took when it last ran here."""
    running = [step for step in steps if step.action in RUNNING]
    parts = []
    for action in RUNNING:
        known = [one for step in running if step.action is action and (one := seconds[step.stage]) is not None]
        if known:
            parts.append(f"{_duration(sum(known))} for what {action}")
    unknown = [step.stage for step in running if seconds[step.stage] is None]
    if unknown:
        parts.append(f"unknown for {', '.join(unknown)}")
    return [f"Time, as when they last ran here: {'; '.join(parts)}."] if parts else []


def _seconds(steps: list[Step]) -> dict[str, float | None]:
    """Return how long stages took when they last ran here, None where they have not."""
    known = durations()
    return {
        step.stage: sum(known[command] for command in step.commands) if {*step.commands} <= known.keys() else None
        for step in steps
    }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _change(old: object, new: object) -> str:
    """Return two values as JSON; of long ones, what is around the place at which they begin to differ."""
    texts = ["none" if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in (old, new)]
    same = len([*takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))])
    start = max(0, same - LONGEST_VALUE // 2) if max(map(len, texts)) > LONGEST_VALUE else 0
    ends = [f"{'…' if start else ''}{text[start:]}" for text in texts]
    return " → ".join(text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…" for text in ends)
