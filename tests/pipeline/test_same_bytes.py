"""Same inputs, same bytes: clones in other folders, on machines that are set up in other ways, write one dvc.lock."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT, STAGES, Project, make_project, without

CONFIGURED = {"floatx": "float16", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}
"""In Keras's configuration file."""
VARIABLES = {
    "DNNL_DEFAULT_FPMATH_MODE": "BF16",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_ENABLE_X64": "1",
    "KERAS_MAX_EPOCHS": "0",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "KERAS_NNX_ENABLED": "1",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX",
    "NVIDIA_TF32_OVERRIDE": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Prescott",
    "OV_CPU_MAX_ISA": "SSE41",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
}


def of_extras() -> set[str]:
    """Return the names of modules that an installation without extras does not have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted, names = list(map(Requirement, project["dependencies"])), {"thaw", "pip", "setuptools"}
    while wanted:
        needed = wanted.pop()
        name = canonicalize_name(needed.name)
        if name not in names and (not needed.marker or needed.marker.evaluate({"extra": ""})):
            names.add(name)
            wanted += map(Requirement, distribution(name).requires or ())
    brought = packages_distributions().items()
    return {module for module, owners in brought if not names & {canonicalize_name(one) for one in owners}}


def test_another_clone_on_another_machine_writes_the_same_lock(
    finished: Project, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = make_project(tmp_path / "another folder", plain)
    (tmp_path / "keras.json").write_text(json.dumps(CONFIGURED))
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nlines.linewidth: 5\n")
    # Nothing comes from the rows of the other.
    places = {name: str(tmp_path) for name in ("KERAS_HOME", "MATPLOTLIBRC", "THAW_CACHE")}
    others = of_extras()
    assert others >= {"jax", "keras_hub", "onnx", "pytest", "ray"}
    for name, value in {**VARIABLES, **places, "PYTHONPATH": str(without(others, tmp_path / "plain"))}.items():
        monkeypatch.setenv(name, value)
    outcome = clone.repro()
    assert sorted(outcome.ran) == sorted(STAGES)
    assert "warning" not in outcome.text
    assert (clone.folder / "dvc.lock").read_text() == (finished.folder / "dvc.lock").read_text()


SHOW = "import thaw, os, json; print(json.dumps(dict(os.environ)))"
KEPT = {
    "CUDA_VISIBLE_DEVICES": "0",
    "JAX_PLATFORMS": "cpu",
    "KERAS_BACKEND": "jax",
    "KERAS_HOME": "/weights",
    "TF_CLI_CONFIG_FILE": "/terraform.rc",
    "TF_CPP_MIN_LOG_LEVEL": "0",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": ".5",
}


def test_variables_of_the_machine_are_forgotten_unless_they_change_no_result() -> None:
    environment = {**os.environ, **VARIABLES, **KEPT}
    done = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True)
    left = {name: value for name, value in json.loads(done.stdout).items() if name in {*VARIABLES, *KEPT}}
    assert left == {**KEPT, "XLA_FLAGS": ""}


@pytest.mark.parametrize("module", ["commands.leftovers", "commands.repro", "stages.check.__main__"])
def test_what_libraries_warn_of_is_no_error(module: str) -> None:
    """Also where PYTHONWARNINGS says so."""
    code = (
        f"import {module}, os, warnings; warnings.warn('', DeprecationWarning); print('PYTHONWARNINGS' in os.environ)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_where_a_library_lies_is_no_result() -> None:
    flags = "--xla_gpu_cuda_data_dir=/usr/lib/cuda --xla_cpu_enable_fast_math=true"
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["XLA_FLAGS"] == "--xla_gpu_cuda_data_dir=/usr/lib/cuda"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("THAW_CACHE_LIMIT", "20 GB", "THAW_CACHE_LIMIT: expected a number of gigabytes, got '20 GB'"),
        ("THAW_CACHE_LIMIT", "-1", "THAW_CACHE_LIMIT: expected a number of gigabytes, got '-1'"),
        ("THAW_CACHE", "~no-such-user/c", "THAW_CACHE: ~no-such-user/c: there is no such home; write the folder out"),
        ("THAW_CACHE", "data/raw/digits/c", "data/raw/digits/c: a folder for caches inside of data/raw/digits, whose"),
        (
            "PYTHONOPTIMIZE",
            "2",
            "PYTHONOPTIMIZE: OpenVINO converts no network where docstrings are left out; set it to 1",
        ),
        ("THAW_CACHE", "data/raw/digits", "data/raw/digits: a folder for caches inside of data/raw/digits, whose"),
        (
            "XDG_CACHE_HOME",
            str(ROOT / "data/raw/digits"),
            f"{ROOT}/data/raw/digits/thaw: a folder for caches inside of",
        ),
    ],
)
def test_what_the_environment_says_wrong_is_one_line(name: str, value: str, told: str) -> None:
    command = [sys.executable, "-m", "stages.check", "--params", "params.yaml"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, name: value}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"error: {told}")


def test_code_of_another_folder_is_not_run_in_this_ones_name(tmp_path: Path) -> None:
    """As where several worktrees share a .venv: dvc.lock would have the hashes of code that did not run."""
    for name in ("stages", "thaw"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "stages.check", "--params", "params.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        1,
        f"error: PYTHONSAFEPATH: set, so that stages are those of {ROOT}, not those of this folder; unset it\n",
    )


@pytest.mark.parametrize("autocrlf", ["true", "input", "false"])
def test_git_checks_out_the_bytes_that_were_committed(autocrlf: str, tmp_path: Path) -> None:
    content = {"stage.py": b"a = 1\n", "suspected.csv": b"a,b\r\n1,2\n", ".gitattributes": b""}
    content[".gitattributes"] = (ROOT / ".gitattributes").read_bytes()
    (tmp_path / "here").mkdir()
    for name, data in content.items():
        (tmp_path / "here" / name).write_bytes(data)
    configured = ["-c", f"core.autocrlf={autocrlf}", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in ("init -q", "add .", "commit -qm a", f"clone -q -c core.autocrlf={autocrlf} . ../there"):
        subprocess.run(["git", *configured, *command.split()], cwd=tmp_path / "here", check=True, capture_output=True)
    assert {name: (tmp_path / "there" / name).read_bytes() for name in content} == content


PREDICT = "commands predict models/variants/full.keras data/raw"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("theano", "stages.check --params params.yaml"),
        ("torch", "stages.check --params params.yaml"),
        ("numpy", "stages.check --params params.yaml"),
        ("theano", PREDICT),
        ("torch", PREDICT),
    ],
)
def test_an_unknown_backend_is_one_line(name: str, command: str, finished: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=finished.folder,
        env={**os.environ, "KERAS_BACKEND": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: KERAS_BACKEND: expected tensorflow or jax, got {name!r}")
    assert "Traceback" not in done.stderr
