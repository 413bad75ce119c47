"""A `python` that has already imported TensorFlow: `python -m MODULE` in 0.1 s instead of 5 s.

The tests run real `dvc repro`, whose stages each start an interpreter that imports Keras. A server imports the
third-party packages once, none of the project's own modules, and forks for each command; a stage then runs
in its own process, from its own files, with its own arguments, as always; signals to whoever asked for it reach it.
"""

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

# A shell starts the interpreter, since a path with a space cannot stand behind #!; to Python, its line is a text.
CLIENT = """#!/bin/sh
'''exec' "{python}" -IS "$0" "$@"
'''
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: server.sendall(bytes([number])))
    request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "little")], [0, 1, 2])
    server.sendall(request)
    sys.exit(int.from_bytes(server.recv(1), "little"))
"""

IMPORTED = (
    *("cykooz_resizer", "h5py", "imagehash", "keras", "matplotlib.backends.backend_svg", "matplotlib.pyplot"),
    *("networkx", "openvino", "pandas", "pydantic.fields", "pydantic.main"),
    *("PIL.ImageDraw", "PIL.ImageFont", "PIL.ImageOps", "ruamel.yaml", "scipy.optimize", "scipy.stats"),
    *("sklearn.datasets", "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection", "tensorflow", "tqdm"),
    *("dvc.cli.parser", "dvc.fs.dvc", "dvc.parsing", "dvc.repo.experiments", "dvc.repo.plots", "dvc.repo.push"),
    *("dvc.repo.reproduce", "dvc.stage.cache", "dvc_data.hashfile.db.local", "dvc_data.index", "dvc_http"),
    *("dulwich.porcelain", "pathspec", "pygit2", "scmrepo.git"),
)


def write_client(folder: Path, address: str) -> None:
    """Write a `python` into `folder` that hands its command to the server at `address`, and a `dvc` that runs in it."""
    client = folder / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    dvc = folder / "dvc"
    dvc.write_text('#!/bin/sh\nexec "${0%/*}/python" -m dvc "$@"\n')
    dvc.chmod(0o755)


def serve(address: str) -> None:
    """Serve commands until killed; announce on standard output when ready."""
    import PIL.Image

    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as Thaw does before it imports OpenVINO
    for module in IMPORTED:
        importlib.import_module(module)
    PIL.Image.init()
    gc.freeze()  # what is frozen is not looked at in the children, so that they share it
    with socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as selector:
        server.bind(address)
        server.listen()
        selector.register(server, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            event = selector.select()[0][0]
            if event.fileobj is server:
                connection, _ = server.accept()
                if child := _begun(connection):
                    selector.register(connection, selectors.EVENT_READ, child)
                    selector.register(os.pidfd_open(child), selectors.EVENT_READ, (child, connection))
            elif isinstance(event.fileobj, socket.socket):
                if not _forwarded(event.fileobj, event.data):
                    selector.unregister(event.fileobj)
            else:
                child, connection = event.data
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                with suppress(OSError):  # who asked for it may have been killed
                    connection.sendall(abs(code).to_bytes(1, "little"))
                if connection in selector.get_map():
                    selector.unregister(connection)
                connection.close()
                selector.unregister(event.fd)
                os.close(event.fd)


def _begun(connection: socket.socket) -> int | None:
    """Return the process that runs what is asked for; None if whoever asks was killed before it had said what.

    It is the only fork for a command: of so large a process, each takes 30 ms.
    """
    head, descriptors, *_ = socket.recv_fds(connection, 8, 3)
    length, request = int.from_bytes(head, "little"), b""
    while len(request) < length and (more := connection.recv(length - len(request))):
        request += more
    if not head or len(request) < length:
        connection.close()
        child = None
    elif (child := os.fork()) == 0:
        _run(descriptors, *json.loads(request))
    for descriptor in descriptors:
        os.close(descriptor)
    return child


def _run(descriptors: list[int], words: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    option, module, *arguments = words
    assert option == "-m"
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # which TMPDIR names
    sys.path[0] = folder
    sys.argv = ["-m", *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _forwarded(connection: socket.socket, child: int) -> bool:
    """Send a process the signal that whoever asked for it got; SIGKILL, and return False, where that was killed."""
    try:
        number = connection.recv(1)
    except OSError:
        number = b""
    os.kill(child, number[0] if number else signal.SIGKILL)
    return bool(number)


if __name__ == "__main__":
    serve(sys.argv[1].replace("@", "\0", 1))
