# SPDX-License-Identifier: MIT
"""Protocols whose data_received is in C: compiled.c, and what the tests add to it."""
import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig

import pytest

from .protocols import Recorder, assert_same

HERE = os.path.dirname(os.path.abspath(__file__))
# In a source tree; elsewhere the header is an installed one.
INCLUDE = os.path.join(HERE, "..", "..", "..", "include")


def missing(what):
    """Without it there is nothing to test, unless everything must be."""
    if os.environ.get("AFN_TEST_REQUIRE") == "1":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def python_includes():
    paths = {sysconfig.get_path(name) for name in ("include", "platinclude")}
    if not any(os.path.exists(os.path.join(path, "Python.h")) for path in paths):
        missing("Python's headers are not installed")
    return ["-I" + path for path in sorted(paths)]


def header_includes():
    if os.path.exists(os.path.join(INCLUDE, "aiofastnet", "python.h")):
        return ["-I" + INCLUDE]
    found = subprocess.run(["pkg-config", "--cflags", "aiofastnet"], stdout=subprocess.PIPE)
    if found.returncode != 0:
        missing("pkg-config does not know aiofastnet")
    return shlex.split(found.stdout.decode())


def build(directory):
    """The module. AFN_TEST_CFLAGS are those of an instrumented build."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        missing("no C compiler")
    path = os.path.join(str(directory), "compiled" + sysconfig.get_config_var("EXT_SUFFIX"))
    command = compiler + shlex.split(os.environ.get("AFN_TEST_CFLAGS", "")) + [
        "-Wall", "-Wextra", "-Werror", "-g", "-shared", "-fPIC", "-o", path,
        os.path.join(HERE, "compiled.c")] + header_includes() + python_includes()
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout.decode()
    spec = importlib.util.spec_from_file_location("compiled", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Receiving:
    """Makes a Recorder of a compiled protocol; `direct` says how each piece of data came."""

    def __init__(self, **hooks):
        super().__init__(**hooks)
        self.sink = Receiving.take
        self.direct = []

    def take(self, data, direct):
        self.direct.append(bool(direct))
        Recorder.data_received(self, data)


def came_right(env, protocol):
    """Did all of its data come by pointer from ours, and by the method from stock?"""
    return set(protocol.direct) == {not env.is_stock}


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


async def send(sender, receiver, data):
    """Writes, and waits until just that has come."""
    before = len(receiver.data)
    sender.transport.write(data)
    await receiver.received(before + len(data))
    assert_same(receiver.data[before:], data)
