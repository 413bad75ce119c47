"""Keras and the backend that it computes on: the only module that speaks to TensorFlow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Send what compiled libraries print to standard error nowhere; Python's exceptions still pass."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# TensorFlow greets every process with lines about CUDA and CPU instructions, and offers no way to stop them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with quiet():
    import keras as keras

    _GPUS = []
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        _GPUS = tf.config.list_physical_devices("GPU")


def device() -> str:
    """Return what Keras computes on, in words: the GPUs, or the CPU and its cores."""
    if _GPUS:
        return ", ".join(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in _GPUS)
    return f"the CPU, {os.cpu_count()} cores"


def has_gpu() -> bool:
    """Say whether Keras computes on a GPU."""
    return bool(_GPUS)


def float32_is_float32() -> None:
    """Forbid GPUs to compute with 10 of float32's 23 bits, which they do unless they are told (TensorFloat-32)."""
    if keras.backend.backend() == "tensorflow":
        tf.config.experimental.enable_tensor_float_32_execution(False)
