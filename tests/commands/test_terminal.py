"""What whoever starts a stage or a command sees: every character, Thaw's errors before DVC's, and of Ctrl-C nothing."""

import contextlib
import copy
import errno
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from commands import doctor, lock, pipeline, plan, repro, review, start
from commands.__main__ import COMMANDS
from commands.git import require_commit
from tests.conftest import PARAMS, ROOT, Project
from tests.toy import dvc, git
from thaw.errors import UserError

pytestmark = pytest.mark.slow

STAGES = sorted(path.stem for path in (ROOT / "stages").glob("[a-z]*.py"))
INTERRUPTED = """
import os, runpy, signal, sys

awaited, module = sys.argv[1:3]
signal.signal(signal.SIGINT, signal.default_int_handler)  # which is another one where the tests run in the background

class Interrupting:
    def find_spec(self, name, *_):
        if name == awaited:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv[:3] = ["-m"]  # as it is while `python -m` looks for a module
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Runs a module, and presses Ctrl-C when another one is about to be imported."""
NAMES = "苹果, яблоко, ябълка, تفاح, pomme dapi à l’ancienne, \udce4, 🍎"


@pytest.mark.parametrize(
    ("awaited", "module", "arguments"),
    [
        *(("thaw", f"stages.{name}", []) for name in STAGES),
        *((f"commands.{name}", "commands", [name]) for name in COMMANDS),
        *(("thaw", module, []) for module in ("commands", "commands.leftovers", "commands.parameters")),
    ],
)
def test_ctrl_c_while_modules_are_imported_ends_a_process_without_a_word(awaited, module, arguments):
    command = [sys.executable, "-c", INTERRUPTED, awaited, module, *arguments]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_while_a_stages_libraries_are_loaded_ends_it_without_a_word():
    command = [sys.executable, "-m", "stages.train"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while "numpy" not in Path(f"/proc/{process.pid}/maps").read_text():
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", None)
    assert process.returncode == 130


IGNORING = """
import gc, os, signal, sys, time, weakref
from thaw.stage import in_terminal

number, where = int(sys.argv[1]), sys.argv[2]

class Object:
    def __del__(self):
        come(where == "finalizer")

def come(here=True):
    if here:
        os.kill(os.getpid(), number)

with in_terminal():
    one = Object()
    if where == "weak reference":
        reference = weakref.ref(one, come)
    if where == "garbage collection":
        gc.callbacks.append(lambda phase, _: come(phase == "start" and not gc.callbacks.clear()))
        gc.collect()
    if where == "library in C":
        try:
            come()
        except BaseException:
            raise SystemError("bad argument to internal function") from None
    del one
    time.sleep(20)
"""


@pytest.mark.parametrize("where", ["finalizer", "weak reference", "garbage collection", "library in C"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_comes_where_its_exception_is_lost_ends_a_process_without_a_word(number, code, where):
    command = [sys.executable, "-c", IGNORING, str(number.value), where]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=15)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


CLOSED = """
import os, sys, tempfile
from thaw.progress import progress
from thaw.stage import announce, in_terminal

with in_terminal():
    file = tempfile.TemporaryFile()
    assert file.fileno() > 2, "what libraries print would be written into it"
    announce("begun")
    list(progress(range(3), 3, "counting"))
    os.write(1, b"more")
    os.write(2, b"more")
"""


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_where_standard_streams_are_closed_all_runs_and_nothing_is_written_into_files(closed):
    def close() -> None:
        for number in closed:
            os.close(number)

    done = subprocess.run([sys.executable, "-c", CLOSED], cwd=ROOT, preexec_fn=close, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


REMEDY = "; let fewer processes run at a time, or take a smaller batch_size\n"
NO_MEMORY = {
    "MemoryError()": "let fewer processes run at a time, or take a smaller batch_size\n",
    "MemoryError('Unable to allocate 9.31 TiB for an array')": f"Unable to allocate 9.31 TiB for an array{REMEDY}",
    "RuntimeError('Exception from core.cpp:117:\\nstd::bad_alloc\\n')": f"std::bad_alloc{REMEDY}",
    "RuntimeError('Cannot load a.so: failed to map segment\\n')": f"Cannot load a.so: failed to map segment{REMEDY}",
    "ValueError('RESOURCE_EXHAUSTED: Out of memory.')": f"RESOURCE_EXHAUSTED: Out of memory{REMEDY}",
    "ValueError('Graph:\\nOOM when allocating tensor of type float on GPU:0 by allocator GPU_0\\nHint')": (
        f"OOM when allocating tensor of type float on GPU:0{REMEDY}"
    ),
}


@pytest.mark.parametrize("error", NO_MEMORY)
def test_where_memory_is_lacking_a_line_says_so_whichever_library_misses_it(error):
    code = f"from thaw.stage import in_terminal\nwith in_terminal():\n    raise {error}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: not enough memory: {NO_MEMORY[error]}")
    assert done.stderr.count("\n") == 1


NO_THREADS = """
import threading
from thaw.stage import in_terminal
from thaw.threads import on_all_cores

def start(self):
    raise RuntimeError("can't start new thread")

threading.Thread.start = start
with in_terminal():
    list(on_all_cores(len, ["a"]))
"""


def test_where_no_more_threads_are_allowed_a_line_says_so():
    """As in a container with a limit of processes."""
    done = subprocess.run([sys.executable, "-c", NO_THREADS], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: can't start new thread: let fewer processes run at a time, or allow more")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("ignored", "code"), [(True, 0), (False, 130)])
def test_who_ignores_ctrl_c_goes_on_ignoring_it(ignored, code):
    """As a shell script's background jobs do."""
    stage = "import os, signal; from thaw.stage import run; run(lambda: os.kill(os.getpid(), signal.SIGINT))"
    prepare = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None
    done = subprocess.run([sys.executable, "-c", stage], cwd=ROOT, preexec_fn=prepare, check=False)
    assert done.returncode == code


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "ascii:strict"])
@pytest.mark.parametrize("how", ["print(NAMES); print(NAMES, file=sys.stderr)", "raise UserError(NAMES)"])
def test_names_are_printed_in_a_terminal_of_any_encoding(how, encoding):
    stage = f"""
import sys
from thaw.errors import UserError
from thaw.stage import run

NAMES = {NAMES!a}

def stage():
    {how}

run(stage)
"""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", stage], cwd=ROOT, env=environment, capture_output=True, check=False)
    codec = encoding.split(":")[0]
    shown = NAMES.encode(codec, errors="backslashreplace")
    assert done.stderr == (b"error: " if "raise" in how else b"") + shown + b"\n"
    assert done.stdout == (b"" if "raise" in how else shown + b"\n")


@pytest.mark.parametrize(
    "words", [("stages.check", "--params", "params.yaml"), ("commands", "plan"), ("commands.leftovers",)]
)
def test_where_names_of_files_are_not_read_as_utf8_a_line_says_so(words: Sequence[str]) -> None:
    """As with LC_ALL=de_DE.ISO-8859-1."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: names of files are read as ascii here, by LC_ALL, LC_CTYPE or LANG: `export ")


def test_the_version_is_that_of_the_project() -> None:
    command = [sys.executable, "-m", "commands", "--version"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert done.stdout == f"thaw {project['version']}\n"


def test_nobody_has_to_read_what_a_stage_prints() -> None:
    stage = "from thaw.stage import run; run(lambda: [print('a line') for _ in range(100_000)])"
    command = f"'{sys.executable}' -c \"{stage}\" | true"
    done = subprocess.run(command, shell=True, cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("words", ["--version", "plan --help"])
def test_nobody_has_to_read_what_commands_say_of_themselves(words: str) -> None:
    command = f"sleep 0.1; exec '{sys.executable}' -m commands {words} | true"
    assert subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, check=True).stderr == b""


@pytest.mark.parametrize(
    "called",
    ["stages.check --params params.yaml >&-", "commands plan 2>&-", "commands plan <&- >&- 2>&-"],
)
def test_who_is_started_without_a_terminal_needs_none(called: str, project: Project) -> None:
    command = f"exec '{sys.executable}' -m {called}"
    done = subprocess.run(
        command, shell=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def project(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of this repository's dvc.yaml and params that a test may break, in which the test runs."""
    project = Project(tmp_path / "a project", plain)
    project.folder.mkdir()
    git(project.folder, "init", "--quiet")
    dvc(project, "init", "--quiet")
    shutil.copy(ROOT / "dvc.yaml", project.folder)
    project.write_params(PARAMS)
    monkeypatch.chdir(project.folder)
    return project


def look_at_pipeline() -> None:
    with pipeline.opened() as repo:
        doctor.check_pipeline(repo)


CALLS: dict[str, Callable[[], Any]] = {
    "plan": plan.main,
    "review": lambda: review.main("HEAD"),
    "repro": lambda: repro.main(2),
    "doctor": look_at_pipeline,
}


def without(*address: str) -> Callable[[dict[str, Any]], Any]:
    """Return what removes an entry."""

    def change(params: dict[str, Any]) -> None:
        for key in address[:-1]:
            params = params[key]
        del params[address[-1]]

    return change


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    **{
        ".".join(address): (without(*address), f"{'.'.join(address)}: this (key|section) is missing")
        for address in [
            *((section,) for section in PARAMS),
            ("dataset", "path"),
            ("features", "midway", "tensors"),
            ("features", "midway", "backbone"),
            ("variants", "half", "start"),
            ("variants", "half", "inputs"),
        ]
    },
    **{
        f"{section} is {value}": (
            lambda params, section=section, value=value: params.update({section: value}),
            f"{section}: ",
        )
        for section in PARAMS
        for value in (None, [], 5)
    },
    "an entry is nothing": (lambda params: params["variants"].update(half=None), "variants.half: expected a mapping"),
    "a path is a number": (lambda params: params["dataset"].update(path=5), "dataset.path: expected text, got the num"),
}
TEXTS = {
    "is empty": (b"", "params.yaml: the file is empty"),
    "has a tab": (b"dataset:\n\tpath: 5\n", "params.yaml:2: not valid YAML"),
    "has an unknown tag": (b"dataset: !what 5\n", "params.yaml:1: not valid YAML"),
    "is not UTF-8": (b"# b\xe4ume\n", "params.yaml:1: not UTF-8"),
    "has a key twice": (b"a: 1\na: 2\n", "params.yaml:2: not valid YAML"),
    "was merged": (b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> main\n", "params.yaml:2: a merge left conflicts"),
    "was merged, all of it": (b"<<<<<<< HEAD\n=======\na: 1\n>>>>>>> main\n", "params.yaml:1: a merge left conflicts"),
    "is a list": (b"- 5\n", "expected sections such as dataset: and variants:"),
    "is missing": (None, "params.yaml: no such file"),
}


@pytest.mark.parametrize("command", CALLS)
def test_all_errors_of_params_are_told_before_dvc_complains_of_one(command: str, project: Project) -> None:
    for change, expected in BROKEN.values():
        params = copy.deepcopy(PARAMS)
        change(params)
        params["unknown"] = {}
        project.write_params(params)
        with pytest.raises(
            UserError, match=rf"(?s)params\.yaml: \d errors, .*unknown: unknown section.*\n  {expected}"
        ):
            CALLS[command]()
    for content, expected in TEXTS.values():
        project.params.unlink(missing_ok=True)
        if content is not None:
            project.params.write_bytes(content)
        with pytest.raises(UserError, match=expected):
            CALLS[command]()


@pytest.mark.parametrize("command", CALLS)
def test_outside_of_the_projects_folder_a_line_says_so(command: str, project: Project) -> None:
    Path("data").mkdir()
    with (
        contextlib.chdir("data"),
        pytest.raises(UserError, match=r"^dvc\.yaml: no such file; run this in the project's folder$"),
    ):
        CALLS[command]()


@pytest.mark.parametrize(
    ("kept", "named"), [("/data/caf\udce9/a.png", "/data/caf\udce9/a.png"), ("(Repo, '/caf\udce9')", str(Path.cwd()))]
)
def test_a_path_that_dvc_cannot_keep_is_named(kept: str, named: str) -> None:
    with (
        pytest.raises(UserError, match=f"^{re.escape(named)}: a path that is not in UTF-8, .*; rename it$"),
        pipeline.complaining(),
    ):
        kept.encode()


NAMELESS = """
import os, pwd

def getpwuid(number):
    raise KeyError(number)

pwd.getpwuid = getpwuid
"""


@pytest.mark.parametrize(
    ("words", "said"),  # there are neither models nor code
    [
        (("commands.leftovers",), "error: stages/__init__.py: digits reads it, but it is not here"),
        (("commands", "plan", "--json"), ""),
        (("commands", "export", "models/full.keras", "--format", "onnx"), "error: models/full.keras: no such file"),
    ],
)
def test_whoever_is_but_a_number_needs_no_name_and_no_home(words: Sequence[str], said: str, project: Project) -> None:
    """As in a container that runs as another user."""
    Path("sitecustomize.py").write_text(NAMELESS)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{project.folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.stderr.startswith(said) if said else (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["plan", "repro"])
def test_a_file_that_dvc_cannot_read_is_named(command: str, project: Project) -> None:
    trees = Path("data/raw/trees/oak")
    trees.mkdir(parents=True)
    (trees / "1.png").symlink_to("nowhere.png")
    with pytest.raises(UserError, match=r"oak/1\.png: cannot be read: a link to nowhere\.png, where nothing is;"):
        CALLS[command]()


@pytest.mark.parametrize(
    "entry",
    [
        *("a: 1", "1: {cmd: x}", "a: {cmd: x, outs: [{path: '', md5: b}]}"),
        *(f"a: {{cmd: x, {one}}}" for one in ("deps: 5", "outs: 1.5", "outs: ", "params: ")),
    ],
)
def test_a_lock_that_dvc_has_not_written_so_is_named(entry: str, project: Project) -> None:
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n  {entry}\n")
    with pytest.raises(UserError, match=r"^dvc\.lock: not what DVC writes; `git checkout HEAD dvc\.lock` restores it$"):
        lock.stages_now()


def test_a_lock_in_which_a_merge_left_conflicts_comes_with_the_remedy(project: Project) -> None:
    """Also where a variant was removed here and trained there."""

    def commit(ran: int, *metrics: str) -> None:
        Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n  a: {{cmd: '{ran}'}}\n")
        for name in ("full", "half"):
            path = Path("metrics", f"{name}.json")
            path.write_text(str(ran)) if name in metrics else path.unlink()
        git(project.folder, "add", "--all")
        git(project.folder, "-c", "user.name=a", "-c", "user.email=a@b.org", "commit", "--quiet", "--message", "a")

    for folder in ("metrics", "data/label_issues"):
        Path(folder).mkdir(parents=True)
    Path("data/label_issues/README.md").touch()
    commit(0, "full", "half")
    git(project.folder, "checkout", "--quiet", "-b", "other")
    commit(1, "full", "half")
    git(project.folder, "checkout", "--quiet", "-b", "mine", "HEAD~1")
    commit(2, "full")
    subprocess.run(["git", "merge", "other"], capture_output=True, check=False)
    for command in CALLS.values():
        with pytest.raises(
            UserError, match=r"dvc\.lock.*; after a merge: `git checkout .*`, `dvc repro` \(`--pull` with a remote\)$"
        ) as told:
            command()
    subprocess.run(str(told.value).split("`")[1], shell=True, capture_output=True, check=True)
    assert lock.stages_now() == {"a": {"cmd": "2"}}
    assert Path("metrics/full.json").read_text() == "2"


@pytest.mark.parametrize("content", [b"junk", b"DIRC\0\0"])
def test_a_damaged_index_of_git_is_told_with_the_remedy(content: bytes, project: Project) -> None:
    """DVC would wait for ever for what is in a commit."""
    git(project.folder, "add", "dvc.yaml")
    git(project.folder, "-c", "user.name=a", "-c", "user.email=a@b.org", "commit", "--quiet", "--message", "a")
    Path(".git/index").write_bytes(content)
    with pytest.raises(UserError, match=r"^\.git/index: Git cannot read ") as told:
        require_commit("HEAD")
    subprocess.run(str(told.value).split("`")[1], shell=True, capture_output=True, check=True)
    assert len(require_commit("HEAD")) == 40


def test_a_file_of_dvcs_in_which_a_merge_left_conflicts_comes_with_the_remedy(project: Project) -> None:
    """As where two people have added images."""

    def commit(digit: str) -> None:
        Path("raw.dvc").write_text(f"outs:\n- md5: {digit * 32}\n  path: raw\n")
        git(project.folder, "add", "raw.dvc")
        git(project.folder, "-c", "user.name=a", "-c", "user.email=a@b.org", "commit", "--quiet", "--message", "a")

    commit("0")
    git(project.folder, "checkout", "--quiet", "-b", "other")
    commit("1")
    git(project.folder, "checkout", "--quiet", "-b", "mine", "HEAD~1")
    commit("2")
    subprocess.run(["git", "merge", "other"], capture_output=True, check=False)
    for call in (plan.main, lambda: repro.main(2), look_at_pipeline):
        with pytest.raises(UserError, match=r"^unable to read: 'raw\.dvc'.*; a merge left conflicts: `") as told:
            call()
    subprocess.run(str(told.value).split("`")[1], shell=True, capture_output=True, check=True)
    assert "2" * 32 in Path("raw.dvc").read_text()
    Path("raw.dvc").write_text("outs: [")
    with pytest.raises(UserError, match=r"'raw\.dvc'.*; mend it, or `git checkout HEAD raw\.dvc`\n"):
        plan.main()
    Path("raw.dvc").unlink()
    Path("dvc.yaml").write_text("<<<<<<< HEAD\nstages:\n=======\n")
    with pytest.raises(UserError, match=r"'dvc\.yaml'.*; a merge left conflicts: mend what stands between"):
        plan.main()


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EROFS, "lock: cannot be written: Read-only file system; give permission there, then run it again"),
        (errno.ENOSPC, "lock: cannot be written: No space left on device; make room there, then run it again"),
        (errno.EACCES, "lock: cannot be read or written: Permission denied; give permission there, then run it again"),
        (
            errno.EMFILE,
            "lock: cannot be read: Too many open files; allow more open files .ulimit -n., then run it again",
        ),
    ],
)
def test_what_dvc_cannot_write_is_not_called_unreadable(number: int, told: str) -> None:
    with pytest.raises(UserError, match=f"^{told}$"), pipeline.complaining():
        raise OSError(number, os.strerror(number), "lock")


def test_a_dvcignore_that_is_no_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in (("a", b"*.tmp\n"), ("b", b"# Caf\xe9\n")):
        Path(name).mkdir()
        Path(name, ".dvcignore").write_bytes(content)
    told = r"^b/\.dvcignore: not UTF-8; save the file with that encoding$"
    with pytest.raises(UserError, match=told), pipeline.complaining():
        b"\xe9".decode()


def test_what_dvc_takes_for_no_file_comes_with_a_remedy(project: Project) -> None:
    link = Path("dvc.lock")
    link.unlink(missing_ok=True)
    link.symlink_to("nowhere")
    told = "dvc.lock' is not a .dvc file, but a folder, or a link to nothing; remove it, or restore it with git"
    with pytest.raises(UserError, match=told), pipeline.opened() as repo:
        pipeline.stages_of(repo)
    link.unlink()


def test_that_nobody_reads_on_is_no_complaint_of_dvcs() -> None:
    with pytest.raises(BrokenPipeError), pipeline.complaining():
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@pytest.mark.parametrize("text", ["attempt to write a readonly database", "disk I/O error", "database is locked"])
def test_databases_of_dvc_that_cannot_be_used_are_not_called_damaged(text: str) -> None:
    with pytest.raises(UserError, match=rf"{text}; they are in /.*: give room and perm"), pipeline.complaining():
        raise sqlite3.OperationalError(text)


@pytest.mark.parametrize("command", CALLS)
def test_where_dvcs_folder_is_gone_its_remedy_is_told(command: str, project: Project) -> None:
    """As where a copy left hidden files out."""
    shutil.rmtree(".dvc")
    with pytest.raises(UserError, match=r"not inside of a DVC repository.*; `git checkout HEAD \.dvc` restores"):
        CALLS[command]()


@pytest.mark.parametrize("command", CALLS)
@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("dvc.yaml", b"", r"dvc\.yaml: the file is empty; `git checkout HEAD dvc\.yaml` restores it"),
        ("dvc.yaml", b" \n", r"dvc\.yaml: the file is empty"),
        (".dvc/config", b"[core]\n    rem", r"\.dvc/config or \.dvc/config\.local: .*; mend it, or `git checkout HEAD"),
        (".dvc/config", bytes(99), r"\.dvc/config or \.dvc/config\.local: "),
    ],
)
def test_files_of_dvc_that_were_cut_off_are_named(
    command: str, name: str, content: bytes, told: str, project: Project
) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(UserError, match=f"(?s)^{told}"):
        CALLS[command]()


@pytest.mark.parametrize("content", ["", "[]", "schema: '1.0'", "schema: '2.0'\nstages: []\n"])
def test_a_lock_that_is_none_comes_with_the_remedy(content: str, project: Project) -> None:
    """As after a merge by hand."""
    Path("dvc.lock").write_text(content)
    for call in (plan.main, look_at_pipeline):
        with pytest.raises(UserError, match=r"dvc\.lock.*; `git checkout HEAD dvc\.lock` restores it"):
            call()


@pytest.mark.parametrize("left", ["", "      files:\n      - relpath: a\n        md5: '0'\n"])
def test_a_lock_whose_hashes_a_push_took_out_comes_with_the_reason(left: str, project: Project) -> None:
    deps = f"    - path: thaw/files\n      hash: md5\n{left}    - path: b\n      hash: md5\n      md5: '0'\n"
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n  a:\n    cmd: a\n    deps:\n{deps}")
    for call in (plan.main, look_at_pipeline):
        with pytest.raises(UserError, match=r"^dvc\.lock: lacks hashes of folders, which a push to .* version_aware"):
            call()


@pytest.mark.parametrize("command", ["plan", "review", "repro"])
def test_a_pipe_in_the_locks_place_is_named(command: str, project: Project) -> None:
    os.mkfifo("dvc.lock")
    with pytest.raises(UserError, match=r"^dvc\.lock: a pipe, socket or device"):
        CALLS[command]()


@pytest.mark.parametrize("command", CALLS)
def test_outside_of_git_every_command_says_what_to_do(command: str, project: Project) -> None:
    """As in a downloaded ZIP file of the repository."""
    shutil.rmtree(".git")
    with pytest.raises(UserError, match=r"is not a git repository; `git init` makes it one, `dvc config --local core"):
        CALLS[command]()
    dvc(project, "config", "--local", "core.no_scm", "true")
    if command == "review":
        with pytest.raises(
            UserError, match="HEAD: no such commit, for this is not a Git repository; clone the project"
        ):
            CALLS[command]()
    else:
        look_at_pipeline()
    git(project.folder, "init", "--quiet")
    dvc(project, "config", "--local", "--unset", "core.no_scm")
    look_at_pipeline()


@pytest.mark.parametrize("call", [lambda: review.main("HEAD"), lambda: start.main("food11")], ids=["review", "start"])
def test_where_git_trusts_no_folder_of_another_user_its_remedy_is_told(
    call: Callable[[], None], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose user has not made the project's folder."""
    shutil.copytree(ROOT / "recipes", "recipes")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UserError, match=r"^git: .*`git config --global --add safe\.directory '/.*a project'`$"):
        call()


def test_a_plan_is_printed_in_a_terminal_of_any_encoding(project: Project) -> None:
    params = copy.deepcopy(PARAMS)
    params["dataset"]["path"] = "data/raw/苹果"
    project.write_params(params)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "commands", "plan"]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
    assert r"data/raw/\u82f9\u679c" in done.stdout
