"""What the stages share. Nothing in this package knows that DVC exists."""

import os
import sys
import warnings
from collections.abc import Sequence
from types import FrameType, ModuleType

# OpenVINO reports its use over the network and keeps an identifier at home, unless this cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

_LOOKING = {
    "jax": ("keras.src.callbacks.", "tensorflow.lite."),
    "matplotlib": ("keras.src.visualization.",),
    "pandas": ("keras.src.trainers.data_adapters.", "sklearn.utils.fixes"),
    "sklearn": ("keras.src.wrappers.",),
}


class _WithoutBridges:
    """Has those modules find no such package that import it only to take its objects, or to offer them theirs.

    No stage does that, and it takes two of the five seconds in which Keras is loaded. Whoever else imports one of them
    gets it.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        caller: FrameType | None = sys._getframe(1) if name in _LOOKING else None
        while caller and caller.f_globals["__name__"].startswith("importlib."):
            caller = caller.f_back
        if caller and caller.f_globals["__name__"].startswith(_LOOKING[name]):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, _WithoutBridges)

# What is set on a machine for NumPy's libraries, Keras, TensorFlow, JAX, XLA, oneDNN and OpenVINO, or for warnings, is
# no input of a stage: it is forgotten before one of them is loaded, but for where they compute, what they print, and
# where they keep what they fetch.
_MACHINES = (
    *("DNNL_", "JAX_", "KERAS_", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NPY_", "NVIDIA_TF32_OVERRIDE", "ONEDNN_"),
    *("OPENBLAS_CORETYPE", "OPENVINO_", "OV_", "PYTHONWARNINGS", "TF_", "XLA_"),
)
_KEPT = (
    *("KERAS_BACKEND", "KERAS_HOME", "TF_CPP_", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR"),
    *("JAX_PLATFORM", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS", "XLA_PYTHON_CLIENT_"),
    *("TF_CLI_", "TF_DATA_DIR", "TF_IN_AUTOMATION", "TF_INPUT", "TF_PLUGIN_", "TF_VAR_", "TF_WORKSPACE"),  # Terraform's
)
FORGOTTEN = sorted(name for name in os.environ if name.startswith(_MACHINES) and not name.startswith(_KEPT))
for _name in FORGOTTEN:
    del os.environ[_name]
if "PYTHONWARNINGS" in FORGOTTEN:  # which may make errors of them: then those of libraries would end stages
    warnings.resetwarnings()
    for _category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", _category)  # as Python does where nothing is set
if "XLA_FLAGS" in os.environ:  # of which only those remain that say where something is, or how many devices there are
    _flags = os.environ["XLA_FLAGS"].split()
    _of_places = ("_dir", "_device_count")
    os.environ["XLA_FLAGS"] = " ".join(flag for flag in _flags if flag.partition("=")[0].endswith(_of_places))
# Not every network's disk has the locks that HDF5 takes. Nothing needs them: files are written whole, and verified.
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
