"""Everything a user can cause and can mend, and how it is told."""

import errno
import re

REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there, then run it again"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "give permission there, then run it again"),
    errno.EFBIG: "allow larger files (ulimit -f), then run it again",
    errno.ENFILE: "let fewer processes run at a time",
    errno.EMFILE: "allow more open files (ulimit -n), then run it again",
    errno.EAGAIN: "let fewer processes run at a time, or allow more (ulimit -u), then run it again",
    errno.ENOMEM: "let fewer processes run at a time",
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV),
        "see whether its disk or network is in order, then run it again",
    ),
}
"""What to do, by the number of a system's error."""
OF_STREAMS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What there may be where standard output or error is a file or a terminal; a lack of processes, files or memory has no
place."""
OUT_OF_MEMORY = re.compile(
    "OOM when allocating .* on [^ ]*|RESOURCE_EXHAUSTED: .*|"
    ".*(?:Unable to allocate|[Ff]ailed to allocate|std::bad_alloc|failed to map segment).*|"
    ".*(?:CUDA_ERROR_OUT_OF_MEMORY|CUDNN_STATUS_ALLOC_FAILED).*"
)
"""What TensorFlow, JAX, NumPy, OpenVINO and CUDA's libraries say where memory is lacking, a GPU's or the machine's."""
CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Characters that a terminal obeys, written out."""


class UserError(Exception):
    """An error that says what is wrong, where, and what to do; it is shown without a traceback."""


def explained(error: OSError) -> str:
    """Return in one line what the system refused, where, how much was needed, and what to do, as far as it is known.

    >>> explained(PermissionError(errno.EACCES, "Permission denied", "data/manifest.csv"))
    'data/manifest.csv: Permission denied; give permission there, then run it again'
    """
    is_of_streams = error.filename is None and error.errno in OF_STREAMS  # whatever writes a file names it
    return ": ".join(
        filter(None, [str(error.filename or "") or is_of_streams * "standard output or error", reasons(error)])
    )


def reasons(error: OSError) -> str:
    """Return what `explained` says, without the place."""
    reason = error.strerror or next(iter(str(error).splitlines()), type(error).__name__)
    return "; ".join(filter(None, [reason, *getattr(error, "__notes__", ()), REMEDIES.get(error.errno or 0)]))


def lack_of_memory(error: BaseException) -> str | None:
    """Return in one line what did not fit into memory, with what to do; None if an error says something else.

    >>> lack_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory."))
    'RESOURCE_EXHAUSTED: Out of memory; let fewer processes run at a time, or take a smaller batch_size'
    """
    remedy = "let fewer processes run at a time, or take a smaller batch_size"
    if found := OUT_OF_MEMORY.search(str(error)):
        return f"{found[0].strip(' .')}; {remedy}"
    return (str(error) or remedy) if isinstance(error, MemoryError) else None


def printable(text: str) -> str:
    r"""Return a text without what a terminal would obey: control characters are written out, but for line breaks.

    >>> printable("oak\x1b[2J")
    'oak\\x1b[2J'
    """
    return text.translate(CONTROLS)
