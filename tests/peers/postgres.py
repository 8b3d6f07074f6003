# SPDX-License-Identifier: MIT
"""A PostgreSQL server of its own: in a scratch directory, on the loopback, with TLS."""
import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess

import compare

LOG = "log"


def find_binaries():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"),
                   key=lambda path: float(path.parent.parent.name))
    if not found:
        raise compare.Skipped("PostgreSQL is not installed")
    return found[-1].parent


def _demote():
    """The server refuses to run as root."""
    if os.getuid() != 0:
        return {}
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        raise compare.Skipped("there is no account postgres to run the server as") from None
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def as_somebody():
    """What makes root look like somebody else to the command behind it, in all but its rights."""
    if os.getuid() != 0:
        return []
    command = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        raise compare.Skipped("PostgreSQL does not run as root, and there are no user namespaces")
    return command


def _free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def serve(scratch):
    """Run a server: its environment for clients."""
    binaries, account = find_binaries(), _demote()
    directory = scratch / "postgres"
    directory.mkdir()
    if account:
        scratch.chmod(0o755)
        os.chown(directory, account["user"], account["group"])

    def run(*command):
        # Not to pipes: the server would keep them open.
        with open(directory / LOG, "ab") as log:
            result = subprocess.run(list(map(str, command)), cwd=directory, stdout=log, stderr=log,
                                    stdin=subprocess.DEVNULL, **account)
        if result.returncode != 0:
            raise compare.Failed((directory / LOG).read_text(errors="replace"))

    data, port = directory / "data", _free_port()
    run(binaries / "initdb", "-D", data, "-A", "trust", "-U", "tester", "-N", "--locale=C.UTF-8")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2",
        "-keyout", data / "server.key", "-out", data / "server.crt")
    (data / "server.key").chmod(0o600)
    certificate = scratch / "server.crt"
    shutil.copy(data / "server.crt", certificate)
    run(binaries / "pg_ctl", "-D", data, "-w", "start", "-o",
        f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={directory} "
        f"-c ssl=on -c fsync=off")
    try:
        yield {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "tester",
               "PGDATABASE": "postgres", "AFN_PEER_SOCKETS": str(directory),
               "AFN_PEER_CERTIFICATE": str(certificate)}
    finally:
        run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
