"""What the stages share. Nothing in this package knows that DVC exists."""

import os
import sys

# OpenVINO reports its use over the network and keeps an identifier at home, unless this cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# What is set on a machine for Keras, TensorFlow, JAX, XLA, oneDNN and OpenVINO is no input of a stage: it is forgotten
# before one of them is loaded, but for where they compute, what they print, and where they keep what they fetch.
_MACHINES = ("DNNL_", "JAX_", "KERAS_", "NVIDIA_TF32_OVERRIDE", "ONEDNN_", "OPENVINO_", "OV_", "TF_", "XLA_")
_KEPT = (
    *("KERAS_BACKEND", "KERAS_HOME", "TF_CPP_", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR"),
    *("JAX_PLATFORM", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS", "XLA_PYTHON_CLIENT_"),
    *("TF_CLI_", "TF_DATA_DIR", "TF_IN_AUTOMATION", "TF_INPUT", "TF_PLUGIN_", "TF_VAR_", "TF_WORKSPACE"),  # Terraform's
)
FORGOTTEN = sorted(name for name in os.environ if name.startswith(_MACHINES) and not name.startswith(_KEPT))
for _name in FORGOTTEN:
    del os.environ[_name]
if "XLA_FLAGS" in os.environ:  # of which only those remain that say where something is
    _flags = os.environ["XLA_FLAGS"].split()
    os.environ["XLA_FLAGS"] = " ".join(flag for flag in _flags if flag.partition("=")[0].endswith("_dir"))
