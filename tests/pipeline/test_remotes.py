"""Remotes of each kind, on servers of this machine: what one person pushes, another pulls, and `thaw doctor` knows."""

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cheroot import wsgi
from moto.server import ThreadedMotoServer
from wsgidav.wsgidav_app import WsgiDAVApp

from commands.doctor.findings import Finding, State
from commands.doctor.remotes import ANSWERS_IN, check_pushed, check_remote, check_secrets
from tests.conftest import Project
from tests.toy import commit, copied, dvc, git, make_toy, opened, results, runs

pytestmark = pytest.mark.slow

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


@dataclass(frozen=True)
class Server:
    """A remote's address, and how it is configured."""

    url: str
    stop: Callable[[], object]
    settings: dict[str, str] = field(default_factory=dict)
    credentials: dict[str, str] = field(default_factory=dict)


@contextmanager
def folder(at: Path) -> Iterator[Server]:
    (at / "store").mkdir()
    yield Server(str(at / "store"), stop=lambda: (at / "store").rename(at / "gone"))


@contextmanager
def ssh(at: Path) -> Iterator[Server]:
    """OpenSSH's own server, run by whoever runs the tests."""
    if SSHD is None:
        pytest.skip("there is no sshd: `apt-get install openssh-server`")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", at / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": at / "host",
        "AuthorizedKeysFile": at / "user.pub",
        "PasswordAuthentication": "no",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
    }
    (at / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.getuid() == 0:  # it insists on that folder, which a system service would have made
        Path("/run/sshd").mkdir(exist_ok=True)
    with (at / "log").open("w") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", at / "sshd_config"], stderr=log)
    wait_for(port)
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{at / 'store'}"
    try:
        yield Server(url, stop=lambda: (server.terminate(), server.wait()), credentials={"keyfile": str(at / "user")})
    finally:
        server.kill()
        server.wait()


@contextmanager
def s3(at: Path) -> Iterator[Server]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")).close()
    credentials = {"access_key_id": "an id", "secret_access_key": "a key"}
    try:
        yield Server("s3://bucket/thaw", server.stop, {"endpointurl": endpoint}, credentials)
    finally:
        server.stop()


@contextmanager
def webdav(at: Path, readonly: bool = False) -> Iterator[Server]:
    (at / "store").mkdir()
    config: dict[str, Any] = {
        "provider_mapping": {"/": {"root": str(at / "store"), "readonly": readonly}},
        "simple_dc": {"user_mapping": {"*": {"ann": {"password": "a password"}}}},
        "logging": {"enable": False},
        "verbose": 0,
    }
    server = wsgi.Server(("127.0.0.1", 0), WsgiDAVApp(config))
    server.prepare()
    threading.Thread(target=server.serve, daemon=True).start()
    credentials = {"user": "ann", "password": "a password"}
    try:
        yield Server(f"webdav://127.0.0.1:{server.bind_addr[1]}/thaw", server.stop, credentials=credentials)
    finally:
        server.stop()


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens at {port}")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_toy(tmp_path_factory.mktemp("toy") / "project")


def configure(project: Project, server: Server) -> None:
    dvc(project, "remote", "add", "--default", "store", server.url)
    for option, value in server.settings.items():
        dvc(project, "remote", "modify", "store", option, value)


def give_credentials(project: Project, server: Server) -> None:
    for option, value in server.credentials.items():
        dvc(project, "remote", "modify", "--local", "store", option, value)


def examined(project: Project, check: Callable[[Any], Finding]) -> Finding:
    with opened(project) as repo:
        return check(repo)


@pytest.mark.parametrize("kind", [folder, ssh, s3, webdav])
def test_what_one_pushes_another_pulls(
    kind: Callable[[Path], Any], toy: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with ExitStack() as stack:
        server: Server = stack.enter_context(kind(tmp_path))
        ours = copied(toy, tmp_path / "ours")
        configure(ours, server)
        give_credentials(ours, server)
        assert examined(ours, check_remote).state is State.OK
        missing = examined(ours, check_pushed)
        assert missing.state is State.WARNING
        assert "0 of 3 results, and 0 of the 2 runs" in missing.text
        assert missing.command == "dvc push --run-cache"
        assert ours.dvc(*missing.command.split()[1:]).code == 0
        assert examined(ours, check_pushed).state is State.OK

        assert examined(ours, check_secrets).state is State.OK
        commit(ours)
        tracked = subprocess.run(
            ["git", "grep", "", "HEAD"], cwd=ours.folder, capture_output=True, text=True, check=True
        )
        assert server.url in tracked.stdout
        assert not [value for value in server.credentials.values() if value in tracked.stdout]

        theirs = Project(tmp_path / "theirs", ours.python)
        git(tmp_path, "clone", str(ours.folder), str(theirs.folder))
        give_credentials(theirs, server)
        found = examined(theirs, check_remote)
        assert found.state is State.OK
        assert "can be reached and written to" in found.text
        assert theirs.dvc("pull", "--run-cache").code == 0
        assert results(theirs) == results(ours)
        assert runs(theirs) == runs(ours)
        assert examined(theirs, check_pushed).state is State.OK

        server.stop()
        started = time.monotonic()
        found = examined(theirs, check_remote)
        assert time.monotonic() - started < ANSWERS_IN + 2
        assert found.state is (State.WARNING if kind is folder else State.ERROR)
        assert ("is no folder yet" if kind is folder else "cannot be reached") in found.text
        assert "\n" not in found.text


def test_without_credentials_a_server_is_not_reached(toy: Project, tmp_path: Path) -> None:
    with webdav(tmp_path) as server:
        project = copied(toy, tmp_path / "project")
        configure(project, server)
        found = examined(project, check_remote)
    assert found.state is State.ERROR
    assert "cannot be reached: received 401" in found.text


def test_a_server_that_takes_nothing_is_named(toy: Project, tmp_path: Path) -> None:
    with webdav(tmp_path, readonly=True) as server:
        project = copied(toy, tmp_path / "project")
        configure(project, server)
        give_credentials(project, server)
        found = examined(project, check_remote)
    assert found.state is State.ERROR
    assert "can be reached, but not written to" in found.text


def test_a_server_that_does_not_answer_is_not_waited_for(
    toy: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commands.doctor.remotes.ANSWERS_IN", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        project = copied(toy, tmp_path / "project")
        dvc(project, "remote", "add", "--default", "store", f"webdav://127.0.0.1:{mute.getsockname()[1]}/thaw")
        found = examined(project, check_remote)
    assert found.state is State.ERROR
    assert "no answer within 0.5 s" in found.text
