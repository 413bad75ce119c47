"""Full disks, and places that cannot be written: one line, nothing lost, and the same bytes once there is room."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests import warm_python
from tests.conftest import ROOT, draw_trees
from tests.faults.conftest import Tried
from tests.stages_of import stages_of

Done = subprocess.CompletedProcess[str]
CAN_MOUNT = (
    sys.platform == "linux"
    and subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
)
needs_mounts = pytest.mark.skipif(not CAN_MOUNT, reason="only an administrator of a Linux machine can mount disks")

PARAMS = """\
dataset: {path: data/raw/images, layout: class_folders, split: {method: stratified, test: 0.2, validation: 0.2}}
tensors:
  small: {pixels: [32, 32], resize: pad, interpolation: bilinear, normalization: lite}
backbones:
  lite0: {architecture: EfficientNetLite0, weights: package}
features:
  bottleneck: {tensors: small, backbone: lite0, layer: top, pooling: avg}
variants:
  frozen_head: {start: backbones/lite0, inputs: features/bottleneck, fit: {solver: logistic_regression, C: [0.1]}}
  half:
    start: variants/frozen_head
    inputs: tensors/small
    freeze: top
    fit: {epochs: 2, batch_size: 8, optimizer: {Adam: {learning_rate: 0.001}}}
evaluation: {top_k: 2}
cross_validation:
  frozen_head: {start: backbones/lite0, inputs: features/bottleneck, folds: 2, repeats: 1}
seeds:
  half: {start: variants/frozen_head, inputs: tensors/small, others: [1]}
label_issues:
  bottleneck: {}
"""
STAGES = stages_of(YAML(typ="safe").load(PARAMS))


@dataclass(frozen=True)
class Bench:
    """A folder in which the stages have run, with a Python that has mounts of its own."""

    folder: Path
    python: Path
    server: int
    """The process that has these mounts."""

    def stage(self, name: str, place: str = "", mount: str = "", **environment: str) -> Done:
        """Run a stage where a place is mounted as a shell's commands do it; what it writes must stay as it was.

        But for a learning curve, which shows how far the training came.
        """
        kept = [one for one in places_of(name) if (name, one) != ("train@half", "data/history")]
        return self.run(self.command(name), place, mount, kept, **environment)

    def command(self, name: str) -> list[str]:
        return [str(self.python / "python"), "-m", STAGES[name].module, *STAGES[name].arguments]

    def run(self, command: list[str], place: str = "", mount: str = "", kept: Iterable[str] = (), **more: str) -> Done:
        script = f"""\
        cd "{self.folder}"
        kept="{" ".join(kept) if place else ""}" place="{place}" code=0 before=$(mktemp -d)
        trap '[ -z "$place" ] || umount "$place"; rm -rf "$before"' EXIT
        for one in $kept; do mkdir -p $one $before/$one; cp -a $one/. $before/$one/; done
        {mount}
        "$@" || code=$?
        for one in $kept; do diff -r --exclude .filling $before/$one $one >&2 || code=99; done
        exit $code
        """
        inside = ["nsenter", f"--mount=/proc/{self.server}/ns/mnt", "sh", "-ec", script, "sh"]
        cache = {"PYTHONPATH": str(ROOT), "THAW_CACHE": str(self.folder / ".thaw")}
        return subprocess.run(
            [*inside, *command],
            cwd=self.folder,
            env={**os.environ, **cache, **more},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def contents(self) -> dict[str, bytes]:
        """Return what is there, but for what is kept to save time."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        named = {path.relative_to(self.folder).as_posix(): path for path in files}
        return {name: path.read_bytes() for name, path in named.items() if not name.startswith(".thaw/")}


def first_bytes(folder: str, count: int) -> str:
    """Return commands after which a folder has what it had, and room for some more bytes."""
    return (
        f"mkdir -p {folder} /tmp/kept.$$\ncp -a {folder}/. /tmp/kept.$$/\n"
        f"size=$(( $(du -sk /tmp/kept.$$ | cut -f 1) * 1024 + 65536 + {count} ))\n"
        f"mount -t tmpfs -o size=$size tmpfs {folder}\ncp -a /tmp/kept.$$/. {folder}/\nrm -r /tmp/kept.$$\n"
        f"room=$(( $(df --output=avail -B 1 {folder} | tail -n 1) - {count} ))\n"
        "[ $room -lt 100000000 ]  # it is the small disk that is filled\n"
        f"head -c $room /dev/zero > {folder}/.filling || true\n"
    )


def read_only(folder: str) -> str:
    return f"mkdir -p {folder}\nmount --bind {folder} {folder}\nmount -o remount,bind,ro {folder}\n"


def assert_one_line(done: Done, *words: str) -> str:
    """Assert that a process ended with one line that says where and why; return the line."""
    lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert done.returncode == 1, (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    assert len(lines) == 1, done.stderr
    assert done.stderr.rstrip().endswith(lines[0]), done.stderr
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


def places_of(stage: str) -> list[str]:
    """Return the folders into which a stage writes."""
    return sorted({str(Path(out).parent) for out in STAGES[stage].outs})


def largest_in(place: str, stage: str, files: dict[str, bytes]) -> int:
    """Return the bytes of the largest file or folder that a stage writes into a folder."""
    outs = [out for out in STAGES[stage].outs if str(Path(out).parent) == place]
    return max(
        sum(len(files[one]) for one in files if one == out or out in map(str, Path(one).parents)) for out in outs
    )


WITHOUT_KERAS = ("manifest", "tensors@small")


def each(*short: str) -> pytest.MarkDecorator:
    """Have a test run for every stage in the long form, and for some in the short form."""
    marks = {name: () if name in short else pytest.mark.long_form for name in STAGES}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks[name]) for name in STAGES])


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, is_full: bool) -> Iterator[Bench]:
    """A folder in which the stages have run: all of them in the long form, else those that need no Keras."""
    folder, python, address = (
        tmp_path_factory.mktemp("bench"),
        tmp_path_factory.mktemp("python"),
        f"disks-{os.getpid()}",
    )
    (folder / "params.yaml").write_text(PARAMS)
    shutil.copy(ROOT / "constraints.txt", folder)
    draw_trees(folder / "data" / "raw" / "images")
    command = ["unshare", "--mount", sys.executable]
    command += [warm_python.__file__, f"@{address}"] if is_full else ["-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        if is_full:
            warm_python.write_client(python, f"\0{address}")
        made = Bench(folder, python if is_full else Path(sys.executable).parent, server.pid)
        try:
            for name in STAGES if is_full else WITHOUT_KERAS:
                done = made.stage(name)
                assert done.returncode == 0, f"{name}: {done.stderr[-2000:]}"
            yield made
        finally:
            server.kill()


@needs_mounts
class TestStages:
    @each(*WITHOUT_KERAS)
    def test_a_full_disk_is_told_in_a_line_and_loses_nothing(
        self, name: str, bench: Bench, is_full: bool, tried: Tried
    ) -> None:
        before = bench.contents()
        for place in places_of(name):
            half = largest_in(place, name, before) // 2
            for room in (0, half) if is_full else (half * (name == "tensors@small"),):
                line = assert_one_line(bench.stage(name, place, first_bytes(place, room)))
                assert place in line, line
                assert "No space left on device" in line, line
                assert "make room" in line, line
                tried(f"stage {name}", "full disk", "named")
        assert bench.stage(name).returncode == 0
        assert bench.contents() == before

    @each("tensors@small")
    def test_a_place_that_cannot_be_written_is_told_in_a_line(self, name: str, bench: Bench, tried: Tried) -> None:
        before = bench.contents()
        for place in places_of(name):
            line = assert_one_line(bench.stage(name, place, read_only(place)))
            assert place in line, line
            assert "Read-only file system" in line, line
            tried(f"stage {name}", "read-only", "named")
        assert bench.stage(name).returncode == 0
        assert bench.contents() == before

    @pytest.mark.long_form
    @pytest.mark.parametrize(
        "name", ["backbone@lite0", "features@bottleneck", "train@frozen_head", "train@half", "seeds@half"]
    )
    def test_a_full_folder_for_temporary_files_is_named(self, name: str, bench: Bench, tried: Tried) -> None:
        (bench.folder / "tmp").mkdir(exist_ok=True)
        # So that nothing is kept of how OpenVINO has a network.
        shutil.rmtree(bench.folder / ".thaw", ignore_errors=True)
        done = bench.stage(name, "tmp", first_bytes("tmp", 8192), TMPDIR=str(bench.folder / "tmp"))
        assert "TMPDIR" in assert_one_line(done)
        assert bench.stage(name).returncode == 0
        tried(f"stage {name}", "full TMPDIR", "named")

    @each("tensors@small")
    @pytest.mark.parametrize("how", ["full", "read-only"])
    def test_what_is_kept_to_save_time_is_not_needed(self, how: str, name: str, bench: Bench, tried: Tried) -> None:
        before = bench.contents()
        for is_there in (True, False):
            if not is_there:
                shutil.rmtree(bench.folder / ".thaw", ignore_errors=True)
            (bench.folder / ".thaw").mkdir(exist_ok=True)
            mount = first_bytes(".thaw", 0) if how == "full" else read_only(".thaw")
            done = bench.stage(name, ".thaw", mount)
            assert done.returncode == 0, done.stderr[-2000:]
            assert "Traceback" not in done.stderr
            tried(f"stage {name}", f"{how} cache", "the same bytes")
        assert bench.contents() == before


MODEL = "models/variants/half.keras"
COMMANDS = {
    "predict": ["predict", MODEL, "data/raw/images", "--out", "place/found.csv"],
    "next": ["next", "data/raw/digits/0", "--model", MODEL, "--count", "3", "--out", "place/next.csv"],
    **{
        f"export {one}": ["export", MODEL, "--format", one, "--out", f"place/half{ending}"]
        for one, ending in {"keras": ".keras", "onnx": ".onnx", "openvino": ".xml", "tflite": ".tflite"}.items()
    },
}


@needs_mounts
class TestCommands:
    @pytest.mark.long_form
    @pytest.mark.parametrize("name", COMMANDS)
    def test_commands_tell_what_they_cannot_write(self, name: str, bench: Bench, tried: Tried) -> None:
        call = [str(bench.python / "python"), "-m", "commands", *COMMANDS[name]]
        for how, make in {"full": first_bytes("place", 0), "read-only": read_only("place")}.items():
            (bench.folder / "place").mkdir(exist_ok=True)
            assert_one_line(bench.run(call, "place", make), "place")
            tried(f"thaw {name}", how, "named")

    def test_nobody_takes_what_is_printed(self, bench: Bench, tried: Tried) -> None:
        done = bench.run(["sh", "-c", f"exec {' '.join(bench.command('tensors@small'))} > /dev/full"])
        assert_one_line(done, "standard output", "No space left on device")
        tried("stage tensors", "standard output is full", "named")
