"""Same inputs, same bytes: two clones in different folders write the same dvc.lock."""

from pathlib import Path

from tests.conftest import STAGES, Project, make_project


def test_another_clone_with_fresh_interpreters_writes_the_same_lock(
    finished: Project, plain: Path, tmp_path: Path
) -> None:
    clone = make_project(tmp_path / "another folder", plain)
    assert sorted(clone.repro().ran) == sorted(STAGES)
    assert (clone.folder / "dvc.lock").read_text() == (finished.folder / "dvc.lock").read_text()
