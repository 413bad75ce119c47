"""Keras and the backend that it computes on, TensorFlow or JAX: the only module that speaks to either."""

import atexit
import ctypes
import functools
import gc
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thaw.errors import UserError
from thaw.files.writing import temporary_folder
from thaw.machine import HAS_NVIDIA, backend, cpu
from thaw.reuse.folder import limit, rows_folder
from thaw.threads import cores

LARGEST_CONSTANT = 2**14
"""Numbers in it."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Of mallopt: how many free bytes are kept, and how many arrays may lie outside of the heap, which are not."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python from looking for garbage among the objects that are made meanwhile, at once, later and at the end.

    In TensorFlow's hundred thousands of objects, which live as long as the process, it looks for two seconds in vain.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
    atexit.register(gc.freeze)


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


def _keep_memory() -> None:
    """Have the C library keep memory that is freed for what is needed next.

    A training's arrays come and go with each of its steps. Where the system takes them back, and gives them again page
    by page, a third of the time goes into that.
    """
    keep = getattr(ctypes.CDLL(None), "mallopt", None)  # GNU's alone has it
    if keep:
        keep(M_MMAP_MAX, 0)
        keep(M_TRIM_THRESHOLD, 2**31 - 1)


_keep_memory()
# TensorFlow greets every process with lines about CUDA and CPU instructions, and offers no way to stop them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if HAS_NVIDIA:
    # Other processes may be on the same GPU. And what XLA compiles is to give the same bits in every run.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
os.environ["KERAS_BACKEND"] = backend("numpy")


@contextmanager
def _without_configuration() -> Iterator[None]:
    """Have Keras find none of its configuration file, which is a machine's; weights stay where it keeps them."""
    home = os.environ.get("KERAS_HOME")
    with temporary_folder() as empty:
        os.environ["KERAS_HOME"] = str(empty)
        try:
            yield
        finally:
            del os.environ["KERAS_HOME"]
    if home is not None:
        os.environ["KERAS_HOME"] = home
    base = Path(os.path.expanduser("~"))  # noqa: PTH111  # as Keras does it, also where there is no home
    keras.src.backend.config._KERAS_DIR = home or str((base if os.access(base, os.W_OK) else Path("/tmp")) / ".keras")


def _keep_compiled() -> None:
    """Have JAX keep what it compiles beside the stored rows: for a GPU, that takes longer than a short training.

    All that the bits depend on is part of an entry's name; what is measured to choose among kernels is not kept.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(rows_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def _remember_attributes() -> None:
    """Have Keras keep which of a layer's attributes hold no weights.

    It looks for what it kept under another name, and so makes a layer to see them for each that it saves or loads.
    """
    library = keras.src.saving.saving_lib
    library.get_attr_skipset = functools.cache(library.get_attr_skipset)


def _share_kernels() -> None:
    """Have TensorFlow make all variables of a shape by one kernel.

    For each name, it prepares another, which takes a third of the time in which a network is built or loaded.
    """
    from tensorflow.python.ops import gen_resource_variable_ops as library

    make = library.var_handle_op

    def var_handle_op(*arguments: Any, debug_name: str = "", **options: Any) -> Any:
        return make(*arguments, **options)

    library.var_handle_op = var_handle_op


def _normalize_the_last_axis_as_it_is() -> None:
    """Have Keras normalize the last axis of a batch without giving its parameters axes that they do not need.

    It does where it is told the axis as -1, but not as 3 of four, as most networks tell it: then a third of what they
    are made of in TensorFlow are reshapings, which are converted and run for nothing.
    """
    library = keras.src.backend.nn
    normalize = library.batch_normalization

    def batch_normalization(x: Any, mean: Any, variance: Any, axis: int, *arguments: Any, **options: Any) -> Any:
        return normalize(x, mean, variance, -1 if axis == len(x.shape) - 1 else axis, *arguments, **options)

    library.batch_normalization = batch_normalization


with quiet(), uncollected():
    with _without_configuration():
        import keras as keras

    _remember_attributes()
    _GPUS: list[str] = []
    _BACKEND = keras.backend.backend()
    if _BACKEND == "jax":
        import jax

        try:
            _devices = jax.devices()
        except RuntimeError as _error:  # JAX_PLATFORMS names what is not there; nothing yet has been called, to be told
            sys.exit(f"error: KERAS_BACKEND=jax: {' '.join(str(_error).split())}")
        _GPUS = [device.device_kind for device in _devices if device.platform == "gpu"]
        if _GPUS and limit() > 0:
            _keep_compiled()
    elif _BACKEND == "tensorflow":
        import tensorflow as tf

        _share_kernels()
        _normalize_the_last_axis_as_it_is()
        if cores() < (os.cpu_count() or 1):  # TensorFlow does not see what share of them a container has
            tf.config.threading.set_intra_op_parallelism_threads(cores())
            tf.config.threading.set_inter_op_parallelism_threads(cores())
        for _gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(_gpu, True)
            _GPUS.append(tf.config.experimental.get_device_details(_gpu).get("device_name", _gpu.name))


def has_gpu() -> bool:
    """Say whether Keras computes on a GPU."""
    return bool(_GPUS)


def device() -> str:
    """Return what Keras computes on, in words: the kinds of GPUs, or the CPU as `machine.cpu` has it."""
    return ", ".join(dict.fromkeys(_GPUS)) or cpu()


def compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of a tensor that does the same, faster where the same shape comes again and again."""
    # JAX would not see what layers keep between calls.
    return tf.function(function, autograph=False) if _BACKEND == "tensorflow" else function


def inference(model: keras.Model) -> Any:
    """Return what a model computes in inference mode, for any number of rows, as a function of TensorFlow's.

    Small weights are constants of it: readers of such functions look for each variable among all. Large ones are not,
    for they would be copied several times.
    """

    def value(variable: keras.Variable) -> Any:
        return variable.numpy() if math.prod(variable.shape) <= LARGEST_CONSTANT else variable

    weights = [list(map(value, one)) for one in (model.trainable_variables, model.non_trainable_variables)]

    def outputs(inputs: Any) -> Any:
        return model.stateless_call(*weights, inputs, training=False)[0]

    rows = tf.TensorSpec((None, *model.input.shape[1:]), model.input.dtype, name=model.input.name)
    return tf.function(outputs, autograph=False, input_signature=[rows]).get_concrete_function()


def in_advance(model: keras.Model) -> Callable[[Any], Any]:
    """Return what a model computes in inference mode as a function that does not wait for it.

    It takes an array, always of the same shape; who makes an array of what it returns waits.
    """
    if _BACKEND != "jax":
        model.make_predict_function()
        return lambda rows: model.predict_function([(rows,)])
    weights = [[one.value for one in some] for some in (model.trainable_variables, model.non_trainable_variables)]
    outputs = jax.jit(lambda weights, rows: model.stateless_call(*weights, rows, training=False)[0])
    return lambda rows: outputs(weights, rows)


@contextmanager
def reading_ahead() -> Iterator[Callable[[keras.utils.PyDataset], Any]]:
    """Yield a function that returns batches as Keras trains on them fastest.

    It takes batches of arrays whose shapes and dtypes are the same but for the number of rows. What is raised where one
    is read, such as of a damaged file, the block raises as it is: TensorFlow makes an error of its own of it.

    TensorFlow would tune how far it reads ahead by a thread, which at the end of an epoch may be asleep for as long as
    the epoch took, and is waited for. Two batches are far enough.
    """
    raised: list[Exception] = []

    def read_ahead(batches: keras.utils.PyDataset) -> Any:
        if _BACKEND != "tensorflow":
            return batches

        def read() -> Iterator[Any]:
            try:
                for number in range(len(batches)):
                    yield batches[number]
            except Exception as error:
                raised.append(error)
                raise

        signature = keras.tree.map_structure(
            lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), batches[0]
        )
        dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
        untuned = tf.data.Options()
        untuned.autotune.enabled = False
        counted = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
        return counted.prefetch(2).with_options(untuned)

    try:
        yield read_ahead
    except Exception:
        if raised:
            raise raised[0] from None
        raise


def share_out(where: str, devices: int) -> None:
    """Have the models that are made from now on be trained on several devices, each on its part of every batch.

    A batch that cannot be cut into equal parts, as the last of a pass may be, goes to each of them whole: the result is
    that of one device, but for the order in which numbers are added.

    Args:
        where: the entry that says how many, for messages.
        devices: how many; 1 is how Keras does it by itself.

    Raises:
        UserError: Keras is not on JAX, or there are fewer devices.
    """
    if devices == 1:
        return
    if _BACKEND != "jax":
        raise UserError(f"{where}: devices share a training with Keras on JAX only: set KERAS_BACKEND=jax")
    there = keras.distribution.list_devices()
    if len(there) < devices:
        raise UserError(f"{where}: expected at most {len(there)}, as JAX has no more devices here, got {devices}")
    trainer = keras.src.backend.jax.trainer

    class EqualParts(keras.distribution.DataParallel):  # type: ignore[misc]
        def get_data_layout(self, data_shape: tuple[int, ...]) -> Any:
            if data_shape[0] % devices == 0:
                return super().get_data_layout(data_shape)
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)

    def distributed(iterator: Any, distribution: Any) -> Iterator[Any]:
        """Yield an epoch's batches on their devices; Keras would place all as it places the first."""
        for batch in iterator.data_adapter.get_jax_iterator():
            yield trainer._distribute_data(batch)

    trainer.JAXEpochIterator._get_distributed_iterator = distributed
    keras.distribution.set_distribution(EqualParts(devices=there[:devices]))


def float32_is_float32() -> None:
    """Forbid GPUs to compute with 10 of float32's 23 bits, which they do unless they are told (TensorFloat-32)."""
    if _BACKEND == "jax":
        jax.config.update("jax_default_matmul_precision", "highest")
    elif _BACKEND == "tensorflow":
        tf.config.experimental.enable_tensor_float_32_execution(False)


@contextmanager
def same_bits() -> Iterator[None]:
    """Make TensorFlow's operations on a GPU give the same bits in every run, for good; on a CPU they do.

    JAX's need nothing but XLA's flag, and neither do those that XLA compiles for TensorFlow.

    Raises:
        UserError: TensorFlow says of an operation inside the block that it cannot.
    """
    if _BACKEND != "tensorflow":
        yield
        return
    if _GPUS:
        tf.config.experimental.enable_op_determinism()
    try:
        yield
    except tf.errors.UnimplementedError as error:
        if "eterminis" not in error.message:
            raise
        raise UserError(
            f"on a GPU, TensorFlow cannot give the same bits in every run: {error.message.splitlines()[0]} Let XLA "
            "compile the steps (fit.jit_compile: true), or train on the CPU (CUDA_VISIBLE_DEVICES=-1 dvc repro)"
        ) from None


@contextmanager
def compiled_by_xla() -> Iterator[None]:
    """Say in a line what XLA cannot compile for TensorFlow; whatever it compiles gives the same bits in every run.

    Raises:
        UserError: there is such an operation inside the block.
    """
    if _BACKEND != "tensorflow":
        yield
        return
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        operations = dict.fromkeys(re.findall(r"(\w+) \(No registered", error.message))
        told = ", ".join(operations) or error.message.strip().splitlines()[-1]
        raise UserError(f"XLA cannot compile this training for TensorFlow: {told}; leave fit.jit_compile out") from None
