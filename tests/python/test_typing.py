# SPDX-License-Identifier: MIT
"""The type stubs describe what is there."""
import ast
import inspect
import os
import shutil
import subprocess
import sys

import pytest


def stub(ours, name):
    path = os.path.join(os.path.dirname(ours.__file__), name)
    with open(path) as file:
        return ast.parse(file.read())


def defined(tree):
    """Names of the functions and classes of a stub, also below conditions on the version."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.setdefault(node.name, []).append(node)
    return names


def test_the_package_is_marked_as_typed(ours):
    """py.typed and the stubs are installed beside the package."""
    directory = os.path.dirname(ours.__file__)
    for name in ("py.typed", "__init__.pyi"):
        assert os.path.exists(os.path.join(directory, name)), name


def test_the_stubs_name_everything_public(ours):
    """__all__, the stub and the package agree; functions are async in both or in none."""
    names = defined(stub(ours, "__init__.pyi"))
    for name in ours.__all__:
        assert name in names, name
        function = getattr(ours, name)
        assert all(isinstance(node, ast.AsyncFunctionDef) == inspect.iscoroutinefunction(function)
                   for node in names[name]), name


def test_the_stubs_know_the_parameters_of_the_direct_functions(ours):
    """Every parameter of the running Python's method is in a stub of that name."""
    names = defined(stub(ours, "__init__.pyi"))
    for name in ("create_connection", "create_datagram_endpoint", "create_server",
                 "create_unix_connection", "create_unix_server", "connect_accepted_socket",
                 "connect_read_pipe", "connect_write_pipe", "start_tls", "sock_accept",
                 "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom",
                 "sock_recvfrom_into", "sock_sendall", "sock_sendto"):
        known = {argument.arg for node in names[name]
                 for argument in node.args.args + node.args.kwonlyargs}
        missing = set(inspect.signature(getattr(ours, name)).parameters) - known
        assert not missing, (name, missing)


@pytest.mark.skipif(shutil.which("mypy") is None, reason="no mypy")
def test_mypy_accepts_the_stubs(ours, tmp_path):
    """mypy --strict on the stubs; on a copy, since it refuses a path among installed packages."""
    package = tmp_path / "aiofastnet"
    package.mkdir()
    for name in ("__init__.pyi", "_core.pyi"):
        shutil.copy(os.path.join(os.path.dirname(ours.__file__), name), package)
    path = str(package / "__init__.pyi")
    result = subprocess.run(["mypy", "--strict", "--cache-dir", os.devnull, path],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout.decode()


def test_importing_does_not_patch_anything(ours):
    """An import has no effect on asyncio."""
    code = ("import asyncio; before = dict(vars(asyncio.BaseEventLoop)); "
            "policy = getattr(asyncio.events, '_event_loop_policy', None); import aiofastnet; "
            "assert dict(vars(asyncio.BaseEventLoop)) == before; "
            "assert getattr(asyncio.events, '_event_loop_policy', None) is policy")
    subprocess.run([sys.executable, "-c", code], check=True)
