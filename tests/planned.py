"""Whether `dvc repro` runs what `thaw plan` says."""

import contextlib
from pathlib import Path

from commands import lock, pipeline
from commands.plan.steps import Action, Kind, Plan, plan
from tests.conftest import Outcome, Project


def plan_in(folder: Path) -> Plan:
    """Return what `dvc repro` would run in a project."""
    with contextlib.chdir(folder), pipeline.opened() as repo:
        return plan(repo)


def repro_as_planned(project: Project, planned: Plan, *arguments: str) -> Outcome:
    """Run `dvc repro`: what runs has to be what was planned, once it is known which awaited results changed."""
    before = results(project.folder)
    outcome, after = project.repro(*arguments), results(project.folder)
    expected = []
    for step in planned.steps:
        awaited = [reason.name for reason in step.reasons if reason.kind is Kind.AWAITED]
        changed = any(before.get(path) != after[path] for path in awaited)
        if step.action is Action.RUN or (step.action is Action.MAY_RUN and changed):
            expected.append(step.stage)
    assert sorted(outcome.ran) == sorted(expected)
    return outcome


def results(folder: Path) -> dict[str, str]:
    """Return the hashes of all that stages wrote, by path, and the contents of what lies in folders of theirs."""
    with contextlib.chdir(folder):
        found = {path: md5 for entry in lock.stages_now().values() for path, md5 in lock.hashes(entry, "outs").items()}
        inside = {file for path in found for file in Path(path).rglob("*") if file.is_file()}
        return found | {str(file): str(file.read_bytes()) for file in inside}
