"""`thaw doctor`, on faults that are made on purpose; and whether the commands that it prints mend them."""

import contextlib
import copy
import errno
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import h5py
import pytest

from commands import lock
from commands.doctor import check_pipeline, machine, room
from commands.doctor.findings import Finding, State, checked
from commands.doctor.machine import (
    check_environment,
    check_keras,
    check_openvino,
    check_packages,
    check_python,
    starting_keras,
)
from commands.doctor.made import check_made
from commands.doctor.rehashing import rehash
from commands.doctor.remotes import check_pushed, check_remote, check_secrets, named_remotes
from commands.doctor.room import check_cache, check_data, check_disk, check_memory, check_store
from commands.doctor.sizes import Sizes, sizes
from commands.leftovers import remove_leftovers
from commands.plan.steps import plan
from tests.conftest import PARAMS, ROOT, Project
from tests.toy import PIPELINE, commit, copied, dvc, git, make_toy, opened, results
from thaw.errors import UserError
from thaw.formats.manifest import Row, read_manifest, write_manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_toy(tmp_path_factory.mktemp("toy") / "project")


@pytest.fixture
def toy(made: Project, tmp_path: Path) -> Project:
    """A project that a test may do anything to; what it pushes goes to a folder beside it."""
    project = copied(made, tmp_path / "project")
    (tmp_path / "store").mkdir()
    dvc(project, "remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    return project


def examined(project: Project, check: Callable[[Any], Finding]) -> Finding:
    with opened(project) as repo:
        return checked("it", lambda: check(repo))


def rehashed(project: Project) -> list[Finding]:
    with opened(project) as repo:
        return list(rehash(repo))


def do(project: Project, command: str | None) -> None:
    """Do what a finding tells a person to do."""
    assert command is not None
    shell = ["bash", "-c", command]
    done = subprocess.run(
        shell, cwd=project.folder, env=project.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def thing(project: Project, name: str) -> Path:
    """Return the object in the cache that has a result's bytes."""
    content = (project.folder / name).read_bytes()
    objects = (project.folder / ".dvc" / "cache" / "files").rglob("*")
    return next(path for path in objects if path.is_file() and path.read_bytes() == content)


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-2] + b"!\n")
    path.chmod(0o444)


def damaged(project: Project, name: str) -> tuple[Finding, dict[str, bytes]]:
    """Damage the object that has a result's bytes, and the result as DVC then checks it out."""
    sound = results(project)
    damage(thing(project, name))
    (project.folder / name).unlink()
    dvc(project, "checkout", "--quiet", "--force")
    assert results(project)[name] != sound[name]  # DVC notices nothing
    found, total = rehashed(project)
    assert found.state is total.state is State.ERROR
    assert "1 of 5 objects is damaged" in total.text
    assert "files/md5/" in found.text
    assert name in found.text
    return found, sound


@pytest.mark.slow
@pytest.mark.parametrize(("link", "name"), [("copy", "raw.txt"), ("symlink", "folder/2.txt"), ("hardlink", "text.txt")])
def test_a_damaged_object_that_was_pushed_is_pulled(toy: Project, link: str, name: str) -> None:
    dvc(toy, "config", "cache.type", link)
    dvc(toy, "checkout", "--quiet", "--relink")
    dvc(toy, "push", "--quiet")
    found, sound = damaged(toy, name)
    assert "dvc pull" in (found.command or "")
    do(toy, found.command)
    assert results(toy) == sound
    assert [one.state for one in rehashed(toy)] == [State.OK]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text.txt", "folder/2.txt"])
def test_a_damaged_object_of_a_stage_is_computed_again(toy: Project, name: str) -> None:
    found, sound = damaged(toy, name)
    assert "dvc repro" in (found.command or "")
    do(toy, found.command)
    assert results(toy) == sound
    assert [one.state for one in rehashed(toy)] == [State.OK]


@pytest.mark.parametrize("content", [b"", b'[{"md5": "0', b"\xff\xfe", b"[1]", b"[" * 99_999, b"[]"])
def test_a_damaged_list_of_a_folder_is_mended(toy: Project, content: bytes) -> None:
    sound = results(toy)
    dvc(toy, "push", "--quiet")
    (listing,) = (toy.folder / ".dvc" / "cache" / "files" / "md5").glob("*/*.dir")
    listing.chmod(0o600)
    listing.write_bytes(content)
    with opened(toy) as repo:
        pushed = check_pushed(repo)
    assert (pushed.state, pushed.command) == (State.ERROR, "thaw doctor --rehash")
    assert "lists of the files in folder are damaged here" in pushed.text
    found, _ = rehashed(toy)
    assert found.text.endswith("it is folder")
    do(toy, found.command)
    assert results(toy) == sound
    assert [one.state for one in rehashed(toy)] == [State.OK]


@pytest.mark.parametrize("content", [b"[", b"[]"])
def test_a_list_of_a_folder_that_the_remote_has_damaged_is_named(toy: Project, content: bytes) -> None:
    dvc(toy, "push", "--quiet", "--run-cache")
    with opened(toy) as repo:
        (theirs,) = Path(repo.config["remote"]["store"]["url"]).rglob("*.dir")
        (mine,) = Path(repo.cache.local.path).rglob("*.dir")
        theirs.chmod(0o600)
        theirs.write_bytes(content)
        assert check_pushed(repo).state is State.OK  # by the list that is here
        mine.unlink()
        found = check_pushed(repo)
    assert found.state is State.ERROR
    assert f"its list of the files in folder is damaged; remove {theirs} there" in found.text


def test_a_damaged_object_of_raw_data_is_made_of_a_sound_file(toy: Project) -> None:
    sound = results(toy)
    damage(thing(toy, "raw.txt"))
    found, _ = rehashed(toy)
    assert "dvc commit" in (found.command or "")
    do(toy, found.command)
    assert results(toy) == sound
    assert [one.state for one in rehashed(toy)] == [State.OK]


def test_raw_data_of_which_no_sound_copy_is_left_have_to_be_put_back(toy: Project) -> None:
    found, sound = damaged(toy, "raw.txt")
    assert "put it back from where it came from" in found.text
    (toy.folder / "raw.txt").unlink()
    (toy.folder / "raw.txt").write_bytes(sound["raw.txt"])
    do(toy, found.command)
    assert [one.state for one in rehashed(toy)] == [State.OK]


def test_a_damaged_object_of_an_earlier_version_is_only_removed(toy: Project) -> None:
    old = thing(toy, "text.txt")
    (toy.folder / "raw.txt").write_text("other\n")
    dvc(toy, "add", "--quiet", "raw.txt")
    dvc(toy, "repro", "--quiet")
    damage(old)
    found, _ = rehashed(toy)
    assert "of an earlier version" in found.text
    do(toy, found.command)
    assert not old.exists()
    assert [one.state for one in rehashed(toy)] == [State.OK]


def test_a_remote_that_is_not_there_is_named(toy: Project) -> None:
    dvc(toy, "remote", "remove", "store")
    none = examined(toy, check_remote)
    assert (none.state, none.text.split(":")[0]) == (State.WARNING, "none is configured")
    dvc(toy, "config", "core.remote", "some where; else")
    unknown = examined(toy, check_remote)
    assert unknown.state is State.ERROR
    assert "some where; else" in unknown.text
    do(toy, (unknown.command or "").replace("URL", str(toy.folder.parent / "store")))
    assert examined(toy, check_remote).state is State.OK


def test_an_address_of_a_remote_that_is_none_is_named(toy: Project) -> None:
    dvc(toy, "remote", "modify", "store", "url", "ssh://host:99999/x")
    with opened(toy) as repo:
        found = check_remote(repo)
    assert found.text == "store (ssh://host:99999/x): not the address of a storage: Port out of range 0-65535"
    assert found.command == "dvc remote modify store url URL"


@pytest.mark.parametrize(
    ("kind", "package", "command"), [("s3", "dvc_s3", "--editable '.[remotes]'"), ("gs", "dvc_gs", "'dvc[gs]'")]
)
def test_a_package_for_a_remote_that_is_missing_is_named(
    toy: Project, kind: str, package: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc(toy, "remote", "modify", "store", "url", f"{kind}://bucket/store")
    monkeypatch.setitem(sys.modules, package, None)  # which is how an import fails
    found = examined(toy, check_remote)
    assert found.state is State.ERROR
    assert f"DVC's package for {kind} is not installed" in found.text
    assert (found.command or "").endswith(command)


@pytest.mark.parametrize("option", ["version_aware", "worktree"])
def test_a_remote_that_keeps_no_hashes_is_refused_before_a_push_takes_those_of_folders(
    option: str, toy: Project
) -> None:
    dvc(toy, "remote", "modify", "store", option, "true")
    found = examined(toy, check_remote)
    assert (found.state, found.text.split(":")[0]) == (State.ERROR, f"store has {option}")
    do(toy, found.command)
    assert examined(toy, check_remote).state is not State.ERROR


def test_an_output_may_have_a_remote_of_its_own(toy: Project) -> None:
    """The default one never gets it, however often one pushes."""
    other = toy.folder.parent / "other"
    dvc(toy, "remote", "add", "other", str(other))
    (toy.folder / "dvc.yaml").write_text(PIPELINE.replace("[text.txt]\n  f", "[text.txt: {remote: other}]\n  f"))
    with opened(toy) as repo:
        assert named_remotes(repo) == ["store", "other"]
        assert {check_pushed(repo, name).state for name in named_remotes(repo)} == {State.WARNING}
    dvc(toy, "push", "--quiet", "--run-cache")
    with opened(toy) as repo:
        assert [check_pushed(repo, name).text for name in named_remotes(repo)] == [
            "store has 2 of 2 results, and 2 of the 2 runs in the run cache",
            "other has 1 of 1 results",
        ]
        assert check_remote(repo, "other").text.startswith(f"other ({other}) can be reached")
    damage(thing(toy, "text.txt"))
    assert "dvc pull text.txt" in (rehashed(toy)[0].command or "")
    dvc(toy, "remote", "remove", "other")
    with opened(toy) as repo:
        assert check_remote(repo, "other").command == "dvc remote add other URL"


def test_a_folder_that_cannot_be_written_to_is_named(toy: Project) -> None:
    store = toy.folder.parent / "store"
    store.rmdir()
    store.write_text("a file, where the folder should be")
    found = examined(toy, check_remote)
    assert found.state is State.ERROR
    assert f"store ({store}) can be reached, but not written to: " in found.text


def test_what_is_neither_here_nor_pushed_is_named(toy: Project) -> None:
    commit(toy)
    clone = Project(toy.folder.parent / "clone", toy.python)
    git(clone.folder.parent, "clone", str(toy.folder), str(clone.folder))
    found = examined(clone, check_pushed)
    assert found.state is State.WARNING
    assert "3 are not here either (folder, raw.txt, text.txt)" in found.text
    assert found.command is None
    dvc(toy, "push", "--quiet", "--run-cache")
    assert examined(clone, check_pushed).state is State.OK


@pytest.mark.parametrize("name", ["store", "my store; else"])
def test_a_password_in_what_git_tracks_is_an_error_until_it_is_moved(toy: Project, name: str) -> None:
    dvc(toy, "remote", "remove", "store")
    dvc(toy, "remote", "add", "--default", name, "ssh://example.org/store")
    dvc(toy, "remote", "modify", name, "ask_password", "true")
    assert examined(toy, check_secrets).state is State.OK
    dvc(toy, "remote", "modify", name, "password", "a-password")
    commit(toy)
    found = examined(toy, check_secrets)
    assert found.state is State.ERROR
    assert f"password of the remote {name}" in found.text
    assert "a-password" not in found.text
    do(toy, (found.command or "").replace("VALUE", "another"))
    assert "a-password" not in (toy.folder / ".dvc" / "config").read_text()
    assert "another" in (toy.folder / ".dvc" / "config.local").read_text()

    found = examined(toy, check_secrets)
    assert found.state is State.ERROR
    assert "change it at the server" in found.text
    git(toy.folder, "config", "user.name", "a")
    git(toy.folder, "config", "user.email", "a@example.org")
    do(toy, f"{found.command} --message config")
    assert examined(toy, check_secrets).state is State.OK

    git(toy.folder, "add", "--force", ".dvc/config.local")
    found = examined(toy, check_secrets)
    assert (found.state, found.about) == (State.ERROR, "credentials")
    do(toy, found.command)
    assert examined(toy, check_secrets).state is State.OK


@pytest.mark.parametrize(
    ("section", "option", "name"),
    [("studio", "token", "studio.token"), ('db "a b"', "password", "db.a b.password"), ("studio", "offline", None)],
)
def test_secrets_of_others_than_remotes_are_found_too(
    toy: Project, section: str, option: str, name: str | None
) -> None:
    exclude = "exclude_shared_token_cache_credential = true"  # is none
    with (toy.folder / ".dvc" / "config").open("a") as file:
        file.write(f"['remote \"azure\"']\nurl = azure://a/b\n{exclude}\n['{section}']\n{option} = true\n")
    found = examined(toy, check_secrets)
    assert found.state is (State.ERROR if name else State.OK)
    if name:
        assert f"holds {name}" in found.text
        do(toy, (found.command or "").replace("VALUE", "another"))
        assert examined(toy, check_secrets).state is State.OK
        assert f"{option} = another" in (toy.folder / ".dvc" / "config.local").read_text()


@pytest.mark.parametrize(
    "address",
    [
        "ann:a-password@127.0.0.1:9/store",
        "ann:o/@a-password@127.0.0.1:9/store",
        "127.0.0.1:9/store?v=1&SAS_token=a-password",
    ],
)
def test_a_password_in_an_address_is_an_error_and_not_printed(address: str, toy: Project) -> None:
    dvc(toy, "remote", "modify", "store", "url", f"webdav://{address}")
    found = examined(toy, check_secrets)
    assert found.state is State.ERROR
    assert "with a password or key in it" in found.text
    assert "a-password" not in examined(toy, check_remote).text
    do(toy, (found.command or "").replace("URL", "ssh://ann@host:22/an@store"))
    assert examined(toy, check_secrets).state is State.OK


def test_copies_are_worth_a_word_where_they_are_large(toy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc(toy, "config", "cache.type", "copy")
    assert examined(toy, check_cache).state is State.OK
    monkeypatch.setattr(room, "MUCH", 1)
    found = examined(toy, check_cache)
    assert found.state is State.WARNING
    do(toy, found.command)
    assert examined(toy, check_cache).state is State.OK
    assert (toy.folder / "text.txt").samefile(thing(toy, "text.txt"))


def test_links_into_a_cache_that_was_moved_with_its_project_come_with_the_remedy(toy: Project, tmp_path: Path) -> None:
    sound = results(toy)
    dvc(toy, "config", "cache.type", "symlink")
    dvc(toy, "checkout", "--quiet", "--relink")
    moved = Project(toy.folder.rename(tmp_path / "moved"), toy.python)
    found = examined(moved, check_cache)
    assert found.text.startswith("4 links lead nowhere")
    told = "cannot be read: a link to .*, where nothing is; .* `dvc checkout` puts"
    with pytest.raises(UserError, match=told), opened(moved) as repo:
        plan(repo)
    do(moved, found.command)
    assert results(moved) == sound
    assert examined(moved, check_cache).state is State.OK
    # Now the cache is elsewhere, as where its disk is not mounted: a checkout alone would fail.
    (moved.folder / ".dvc" / "cache").rename(tmp_path / "cache")
    found = examined(moved, check_cache)
    assert f"nothing is at {moved.folder / '.dvc' / 'cache'}" in found.text
    do(moved, (found.command or "").replace("FOLDER", str(tmp_path / "cache")))
    assert results(moved) == sound
    assert examined(moved, check_cache).state is State.OK


@pytest.mark.parametrize("name", ["a{b", "{a}", "}"])
def test_dvc_fails_at_braces_in_paths(toy: Project, name: str, tmp_path: Path) -> None:
    dvc(toy, "remote", "add", "--quiet", "--force", "--default", "store", str(tmp_path / name))
    found = examined(toy, check_remote)
    assert (found.state, "at braces in such a path" in found.text) == (State.ERROR, True)
    toy.folder.rename(tmp_path / name)
    with contextlib.chdir(tmp_path / name):
        found = examined(Project(Path(), toy.python), check_cache)
        assert (found.state, "at braces in such a path" in found.text) == (State.ERROR, True)
        with pytest.raises(
            UserError, match="at braces in such a path; rename the folder, or name another by `dvc config"
        ):
            remove_leftovers()
        Path("text.txt").unlink()
        command = re.search("`(.*)`", found.text)
        assert command
        subprocess.run(command[1].replace("FOLDER", f"'{tmp_path}/cache'"), shell=True, check=True)
        dvc(Project(Path(), toy.python), "repro", "--quiet", "--force")


@pytest.mark.parametrize(("file", "said"), [(None, "No space left on device; "), ("a", "a: No space left on device; ")])
def test_what_the_system_refuses_is_told_with_its_file_if_there_is_one(file: str | None, said: str) -> None:
    def check() -> Finding:
        raise OSError(errno.ENOSPC, "No space left on device", file)

    assert checked("disk", check).text.startswith(said)


def test_a_place_for_rows_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "file"))
    found = check_store()
    assert found.state is State.WARNING
    assert found.text.startswith(f"{tmp_path / 'file' / 'rows'} cannot be written, so that nothing new is kept")


def test_rows_are_counted_and_those_that_nothing_reads_are_named(
    toy: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    shared = tmp_path / "caches" / "thaw" / "rows"
    found = examined(toy, lambda repo: check_store())
    assert (found.state, found.text) == (State.OK, f"0 kB of at most 20.0 GB are in {shared}")
    for folder in (shared, toy.folder / ".thaw" / "rows"):
        (folder / "made").mkdir(parents=True)
        (folder / "made" / "1.rows").write_bytes(bytes(3000))
    found = examined(toy, lambda repo: check_store())
    assert found.state is State.WARNING
    assert found.text.startswith(f"3 kB of at most 20.0 GB are in {shared}; those in .thaw/rows are not read")
    do(toy, found.command)
    found = examined(toy, lambda repo: check_store())
    assert (found.state, found.text) == (State.OK, f"3 kB of at most 20.0 GB are in {shared}")
    monkeypatch.setenv("THAW_CACHE", ".thaw")
    (toy.folder / ".thaw" / "rows").mkdir()
    assert examined(toy, lambda repo: check_store()).state is State.OK


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_room_is_compared_with_what_params_ask_for(toy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc(toy, "config", "cache.type", "copy")
    features = {"bottleneck": 5120, "midway": 10_000_000}

    def disk(repo: Any) -> Finding:
        return check_disk(repo, sizes(repo, PARAMS, features))

    assert "known once `dvc repro manifest` has run" in examined(toy, disk).text
    rows = [Row(f"{number}.png", "oak", "train", "0" * 64) for number in range(1000)]
    write_manifest(toy.folder / "data" / "manifest.csv", rows)
    needed = 1000 * (40 * 40 * 3 + 5120 + 10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 2 * needed - 1))
    found = examined(toy, disk)
    assert found.state is State.ERROR
    assert "take 20.0 GB with their copies in the cache, 0 kB are here, 20.0 GB free" in found.text
    dvc(toy, "config", "cache.type", "hardlink")
    assert examined(toy, disk).state is State.OK
    del features["midway"]  # as where KerasHub would have to fetch the network
    told = "features (but for features.midway, of a network that is not yet known) take 9.9 MB, 0 kB are here"
    assert told in examined(toy, disk).text
    assert "needed (but for features.midway, " in check_memory(PARAMS, Sizes({}, features, ("midway",))).text


def test_a_solver_of_more_than_the_memory_is_an_error() -> None:
    found = check_memory(PARAMS, Sizes({}, {"bottleneck": 10**6, "midway": 10**15}))
    assert found.state is State.OK  # what reads midway takes a batch at a time
    too_much = Sizes({}, {"bottleneck": 10**15})
    unsolved = PARAMS | {"variants": {"half": PARAMS["variants"]["half"]}}
    for params in (PARAMS | {"label_issues": {}}, unsolved):  # labels are judged by heads that are solved, too
        assert check_memory(params, too_much).state is State.ERROR
    assert check_memory(unsolved | {"label_issues": {}}, too_much).state is State.OK


@pytest.mark.parametrize(
    "name",
    [
        *("memory.max", "memory/memory.limit_in_bytes"),
        *("slurm/job_1/step_0/memory.max", "slurm/job_1/memory.max", "memory/slurm/job_1/memory.limit_in_bytes"),
    ],
)
@pytest.mark.parametrize(
    ("limit", "state"), [("1000000000", State.ERROR), ("9223372036854771712", None), ("max", None)]
)
def test_a_container_or_a_job_may_have_less_memory_than_the_machine(
    name: str, limit: str, state: State | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = check_memory(PARAMS, None).state
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(f"{limit}\n")
    monkeypatch.setattr(room, "GROUP", tmp_path)
    (tmp_path / "membership").write_text("9:cpu,cpuacct:/other\n4:memory:/slurm/job_1\n0::/slurm/job_1/step_0\n")
    monkeypatch.setattr(room, "MEMBERSHIP", tmp_path / "membership")
    found = check_memory(PARAMS, None)
    assert found.state is (state or expected)
    assert ("of 1.0 GB free" in found.text) == (state is not None)


@pytest.mark.parametrize(
    ("names", "stat"),
    [
        (("memory.max", "memory.current"), "file 7\ninactive_file 1000000000\n"),
        (
            ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
            "inactive_file 9\ntotal_inactive_file 1000000000\n",
        ),
    ],
)
def test_what_a_container_or_a_job_has_used_is_not_free(
    names: tuple[str, str], stat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory").mkdir()
    for name, count in zip(names, (3_000_000_000, 2_500_000_000), strict=True):
        (tmp_path / name).write_text(f"{count}\n")
    (tmp_path / names[0]).with_name("memory.stat").write_text(stat)
    monkeypatch.setattr(room, "GROUP", tmp_path)
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: SimpleNamespace(total=10**11, available=10**11))
    assert check_memory(PARAMS, None).text == "about 1.5 GB needed, 1.5 GB of 3.0 GB free"


@pytest.mark.parametrize(
    ("patterns", "path", "unseen"),
    [
        ("*.bin", "folder", []),
        ("2.txt", "folder", ["folder/2.txt"]),
        ("/folder/1.txt", "./folder/", ["folder/1.txt"]),
        ("folder/", "folder", ["folder/1.txt", "folder/2.txt"]),
    ],
)
def test_files_that_dvc_is_told_to_leave_out_are_named(
    toy: Project, patterns: str, path: str, unseen: list[str]
) -> None:
    (toy.folder / ".dvcignore").write_text(f"{patterns}\n")
    with opened(toy) as repo:
        found = check_data(repo, Path(path))
    assert found.state is (State.ERROR if unseen else State.OK)
    told = ("DVC sees the 2 files", "1 file that stages read is left out", "2 files that stages read are left out")
    assert found.text.startswith(told[len(unseen)])
    assert found.text.endswith(", ".join(unseen) if unseen else " of folder")


def test_an_empty_data_set_is_named(toy: Project) -> None:
    (toy.folder / "empty").mkdir()
    with opened(toy) as repo:
        found = check_data(repo, Path("empty"))
    assert (found.state, found.text) == (State.WARNING, "empty is empty, where the images should be; mount or fill it")


def test_links_in_a_data_set_are_named(toy: Project) -> None:
    (toy.folder / "folder" / "linked").symlink_to(toy.folder.parent)
    with opened(toy) as repo:
        found = checked("data", lambda: check_data(repo, Path("folder")))
    assert (found.about, found.state) == ("data", State.ERROR)
    assert found.text.startswith("folder/linked: a link to a folder")


def test_images_are_those_of_the_data_set_however_it_is_spelled(toy: Project) -> None:
    for name in ("raw.txt.dvc", "raw.txt"):
        (toy.folder / name).unlink()
    shutil.rmtree(toy.folder / "folder")
    (toy.folder / "dvc.yaml").unlink()
    (toy.folder / "photos").mkdir()
    for number in range(3):
        (toy.folder / "photos" / f"{number}.png").write_text(str(number))
    dvc(toy, "add", "--quiet", "photos")
    (toy.folder / "dvc.yaml").write_text("stages: {}\n")
    for path in ("photos", "photos/", "./photos", str(toy.folder / "photos")):
        with opened(toy) as repo:
            found = sizes(repo, {**PARAMS, "dataset": {"path": path}}, {})
        assert found is not None
        assert found.tensors == {"small": 3 * 3 * 40 * 40}


@pytest.mark.parametrize(
    ("key", "changes", "stage"),
    [
        ("tensors.small", {"resize": "stretch"}, "tensors"),
        ("tensors.small", {"normalization": "torch", "unlike_pretraining": True}, "tensors"),
        ("backbones.lite0", {"weights": "none"}, "backbone"),
        ("features.midway", {"layer": "block_9"}, "features"),
        ("variants.half", {"fit": {"epochs": 2, "optimizer": {"Adam": {"learning_rate": 1e-4}}}}, "train"),
        ("variants.frozen_head", {"fit": {"solver": "logistic_regression", "C": [0.1]}}, "train"),
        ("tensors.small", {}, None),
        ("tensors.small", {"unlike_pretraining": True, "keep": True}, None),  # of which the pixels say nothing
        ("features.midway", {"batch_size": 32, "views": 1}, None),  # the defaults
    ],
)
def test_results_that_dvc_takes_for_those_of_other_parameters_are_named(
    key: str, changes: dict[str, Any], stage: str | None, finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    section, name = key.split(".")
    params = copy.deepcopy(PARAMS)
    params[section][name] |= changes
    monkeypatch.chdir(finished.folder)
    entries = lock.stages_now()
    assert check_made(params).state is State.OK  # they have yet to be run with these
    for noted in (entry.get("params", {}).get("params.yaml", {}) for entry in entries.values()):
        noted |= {key: params[section][name]} if key in noted else {}
    monkeypatch.setattr(lock, "stages_now", lambda: entries)  # as `dvc commit --force` leaves it
    found = check_made(params)
    assert (found.state, found.command) == (
        (State.WARNING, f"dvc repro --force --single-item {stage}@{name}") if stage else (State.OK, None)
    )


def test_sizes_are_those_of_the_files(finished: Project) -> None:
    from commands.keras_facts import row_bytes as row_bytes_of

    with contextlib.chdir(finished.folder), starting_keras() as process:
        loaded, row_bytes = check_keras(process)
    assert loaded.state is State.OK, loaded.text
    with opened(finished) as repo:
        found = sizes(repo, PARAMS, row_bytes)
        assert found is not None
        for name, size in {**found.tensors, **found.features}.items():
            kind = "tensors" if name in found.tensors else "features"
            with h5py.File(f"data/{kind}/{name}.h5") as file:
                assert size == file["rows"].nbytes
        views = {**PARAMS, "features": {"bottleneck": {**PARAMS["features"]["bottleneck"], "views": 3}}}
        unkept = sizes(repo, {**PARAMS, "tensors": {"small": {**PARAMS["tensors"]["small"], "keep": False}}}, {})
        of_hub = {**PARAMS["backbones"], "hub": {"architecture": "hub", "weights": "siglip_base_patch16_224"}}
        unknown = {**PARAMS["features"], "bottleneck": {**PARAMS["features"]["bottleneck"], "backbone": "hub"}}
        assert row_bytes_of({**PARAMS, "backbones": of_hub, "features": unknown}).keys() == {"midway"}
        more = sizes(repo, views, {"bottleneck": 1})
        assert more is not None
        assert unkept is not None
        assert unkept.tensors == {}
        images = len(read_manifest(Path("data/manifest.csv")))
        trained = sum(row.split == "train" for row in read_manifest(Path("data/manifest.csv")))
        assert more.features == {"bottleneck": images + 2 * trained}


def test_stages_need_the_python_of_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    assert check_python().state is State.OK
    with contextlib.chdir(tmp_path):
        Path("thaw").mkdir()
        Path("thaw", "__init__.py").touch()
        found = check_python()
        with monkeypatch.context() as patched:
            flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if name.islower()}
            patched.setattr(machine.sys, "flags", SimpleNamespace(**flags | {"safe_path": True}))
            assert (check_python().state, check_python().command) == (State.ERROR, "unset PYTHONSAFEPATH")
    assert found.state is State.WARNING
    assert f"`thaw` is that of {ROOT}, stages are those of this folder: here, write `python -m comm" in found.text
    monkeypatch.setenv("PATH", "")
    found = check_python()
    assert found.state is State.ERROR
    activated = subprocess.run(
        ["/bin/bash", "-c", f"{found.command} && python -c 'import sys; print(sys.prefix)'"],
        capture_output=True,
        text=True,
    )
    assert activated.stdout.strip() == sys.prefix


def test_a_package_of_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cut_off-1.0.dist-info").mkdir()  # by a pip that was killed
    (tmp_path / "keras-0.1.dist-info").mkdir()
    (tmp_path / "keras-0.1.dist-info" / "METADATA").write_text("Name: keras\nVersion: 0.1\n")
    monkeypatch.setattr("sys.path", [*sys.path, str(tmp_path)])  # behind the one that is imported
    with contextlib.chdir(ROOT):
        assert check_packages().state is State.OK
    (tmp_path / "constraints.txt").write_text(
        "Scikit_Learn==0.1\nnot-installed==1\n<<<<<<< main\n=======\n>>>>>>> other\n"
    )
    with contextlib.chdir(tmp_path):
        found = check_packages()
    assert found.state is State.WARNING
    assert "1 not as pinned: Scikit_Learn" in found.text


def test_what_the_environment_sets_and_no_result_may_depend_on_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thaw.FORGOTTEN", [])
    assert check_environment().state is State.OK
    monkeypatch.setattr("thaw.FORGOTTEN", ["PYTHONWARNINGS"])
    assert (check_environment().state, check_environment().command) == (State.WARNING, "unset PYTHONWARNINGS")
    monkeypatch.setattr("thaw.FORGOTTEN", ["TF_XLA_FLAGS"])
    found = check_environment()
    assert found.state is State.WARNING
    assert found.text.endswith("no result may depend on it: TF_XLA_FLAGS")


@pytest.mark.parametrize("shell", ["/bin/false", "/nowhere"])
def test_a_shell_that_runs_nothing_is_named(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a service."""
    monkeypatch.setenv("SHELL", shell)
    found = check_environment()
    assert (found.state, found.command) == (State.ERROR, "export SHELL=/bin/sh")
    assert shell in found.text


def test_a_user_without_a_name_is_told_what_dvc_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thaw.FORGOTTEN", [])
    monkeypatch.setattr("commands.NAMELESS", True)
    found = check_environment()
    assert (found.state, found.command) == (State.WARNING, "export LOGNAME=$(id -u)")


def test_bfloat16_is_warned_of_where_the_processor_has_it_not() -> None:
    asking = {"features": {"one": {"precision": "bfloat16"}}, "variants": {}}
    found = check_openvino(asking)
    assert found.state is (State.WARNING if "no instructions" in found.text else State.OK)
    assert check_openvino({"features": {"one": {}}, "variants": {}}).state is State.OK


def test_on_a_gpu_openvino_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in ("HAS_NVIDIA", "HAS_CUDA"):
        monkeypatch.setattr(f"commands.doctor.machine.{there}", True)
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = check_openvino({"features": {"one": {"precision": "bfloat16"}}, "variants": {}})
    assert (found.state, found.text) == (State.OK, "not used where a GPU computes")


def test_without_openvino_the_doctor_warns() -> None:
    code = """
import sys
sys.modules["openvino"] = None
from commands.doctor import machine
print(machine.check_openvino({"features": {}, "variants": {}}).text)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout == "cannot be imported; without it, features are computed by Keras, at half the speed\n"


@pytest.mark.slow
def test_libraries_of_a_gpu_that_is_not_seen_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia").mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with contextlib.chdir(ROOT), starting_keras() as process:
        found, _ = check_keras(process)
    assert found.state is State.WARNING
    assert "on the CPU" in found.text
    assert "no NVIDIA GPU is in sight" in found.text


def test_keras_that_cannot_be_loaded_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keras.py").write_text("raise ImportError('its library is gone')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}")
    with contextlib.chdir(ROOT), starting_keras() as process:
        found, _ = check_keras(process)
    assert found.state is State.ERROR
    assert "its library is gone" in found.text


def test_a_pipeline_that_cannot_be_read_is_an_error(toy: Project) -> None:
    (toy.folder / "params.yaml").write_text("variants: 3\n")
    found = examined(toy, check_pipeline)
    assert found.state is State.ERROR
    assert "nothing was run" in found.text
    shutil.copy(ROOT / "params.yaml", toy.folder)
    assert examined(toy, check_pipeline).state is State.OK
    for text, hint in (("stages:\n<<<<<<< HEAD\n  text: {}\n=======\n", "after a merge"), ("text", "restores it")):
        (toy.folder / "dvc.lock").write_text(text)
        found = examined(toy, check_pipeline)
        assert found.state is State.ERROR
        assert hint in found.text


@pytest.mark.slow
def test_the_command_says_all_of_it_and_fails_where_there_is_an_error(toy: Project) -> None:
    shutil.copy(ROOT / "params.yaml", toy.folder)
    damage(thing(toy, "text.txt"))
    command = [sys.executable, "-m", "commands", "doctor", "--rehash"]
    environment = {**toy.environment, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=toy.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for about in (
        "Python",
        "packages",
        "environment",
        "locks",
        "pipeline",
        "OpenVINO",
        "memory",
        "disk",
        "cache",
        "credentials",
        "remote",
        "Keras",
    ):
        assert [line for line in lines if line.startswith(f"ok       {about}: ")], about
    assert [line for line in lines if line.startswith("warning  pushed: store has 0 of 3 results")]
    assert [line for line in lines if line.startswith("error    objects: ") and "it is text.txt: `rm -rf " in line]
    assert "Traceback" not in done.stderr
