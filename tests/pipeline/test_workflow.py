"""The workflow of pull requests: its steps' commands, run on a clone as GitHub would."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import EPOCHS, RATE, ROOT, Experiment, Project, clone_of

WORKFLOW = YAML(typ="safe").load(ROOT / ".github" / "workflows" / "pull-request.yml")
STEPS: dict[str, dict[str, Any]] = {
    step["name"]: step for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step
}
PROGRAMS = {
    # Installed, it would be this repository's, not the clone's.
    "thaw": 'exec python -m commands "$@"',
    "gh": 'echo "$*" >> "$GH_CALLS"\nwhile [ "$1" != --body-file ]; do shift; done\ncp "$2" "$GH_CALLS.body"',
}


class Runner:
    """Runs steps in a clone."""

    def __init__(self, project: Project, folder: Path):
        self.project, self.summary, self.calls = project, folder / "summary.md", folder / "calls"
        for name, text in PROGRAMS.items():
            program = folder / "programs" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        self._environment = {
            **project.environment,
            "PATH": f"{folder / 'programs'}{os.pathsep}{project.environment['PATH']}",
            "GITHUB_BASE_REF": "main",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "NUMBER": "12",
            "GH_CALLS": str(self.calls),
        }

    def __call__(self, step: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[step]["run"]]
        return subprocess.run(
            command, cwd=self.project.folder, env=self._environment, text=True, capture_output=True, check=False
        )


@pytest.fixture
def runner(experiment: Experiment, tmp_path: Path) -> Runner:
    return Runner(clone_of(experiment, "change", tmp_path / "a clone"), tmp_path)


@pytest.mark.parametrize("step", STEPS)
def test_the_commands_are_shell(step: str) -> None:
    subprocess.run(["bash", "-n", "-c", STEPS[step]["run"]], check=True)


def test_a_pull_request_gets_one_comment(runner: Runner) -> None:
    for step in ("Parameters", "Lock", "Review", "Comment"):
        done = runner(step)
        assert done.returncode == 0, done.stderr
    comment = Path(f"{runner.calls}.body").read_text()
    assert comment == runner.summary.read_text()
    assert comment.startswith("## Changes since origin/main (")
    assert f"| variants.half.fit.epochs | 1 | {EPOCHS} |" in comment
    assert "| train@half | data/history/half.csv<br>models/variants/half.keras |" in comment
    assert "| metrics/half.json | test.accuracy |" in comment
    assert "| metrics/half.json | validation.log_loss |" in comment
    assert "\n- half: " in comment
    assert "Only right at origin/main: " in comment
    assert "train@full" not in comment
    assert "not up to date" not in comment
    # A second time, the same comment is changed.
    assert "--edit-last" in runner.calls.read_text()
    assert runner.calls.read_text().startswith("pr comment 12 ")


def test_a_comment_is_as_long_as_github_takes_it(plain: Path, tmp_path: Path) -> None:
    runner = Runner(Project(tmp_path, plain), tmp_path)
    (tmp_path / "review.md").write_text("| a |\n" * 20_000)
    assert runner("Comment").returncode == 0
    assert 60_000 < len(Path(f"{runner.calls}.body").read_text()) < 65_536


def test_without_a_remote_the_lock_is_checked_and_the_review_says_what_is_missing(runner: Runner) -> None:
    assert runner.project.dvc("remote", "remove", "--local", "store").code == 0
    assert runner("Lock").returncode == 0
    assert runner("Review").returncode == 0
    review = runner.summary.read_text()
    assert "The predictions were not compared: " in review
    assert f"| variants.half.fit.epochs | 1 | {EPOCHS} |" in review
    assert "not up to date" not in review


def test_a_lock_that_is_not_up_to_date_fails(runner: Runner) -> None:
    params = YAML().load(runner.project.params)
    params["variants"]["half"]["fit"]["optimizer"]["Adam"]["learning_rate"] = 0.5
    runner.project.write_params(params)
    assert runner("Parameters").returncode == 0
    done = runner("Lock")
    assert done.returncode == 1
    assert f"variants.half.fit.optimizer.Adam.learning_rate: {RATE} → 0.5" in done.stdout
    assert "dvc.lock is not up to date for train@half, evaluate@half, report;" in done.stderr
    assert runner("Review").returncode == 0
    assert "dvc.lock is not up to date for train@half, evaluate@half, report:" in runner.summary.read_text()


def test_broken_parameters_fail(runner: Runner) -> None:
    runner.project.params.write_text(runner.project.params.read_text().replace("Adam:", "Adamm:", 1))
    done = runner("Parameters")
    assert done.returncode == 1
    assert "variants.half.fit.optimizer.Adamm: unknown optimizer 'Adamm'; did you mean 'Adam'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_others_write_is_no_command_and_tests_may_not_write() -> None:
    assert not any("${{" in step["run"] for step in STEPS.values())
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [name for name, job in WORKFLOW["jobs"].items() if "permissions" in job] == ["review"]
