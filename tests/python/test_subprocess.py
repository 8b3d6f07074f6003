# SPDX-License-Identifier: MIT
"""Subprocesses, whose pipes are transports."""
import asyncio
import subprocess
import sys

import pytest

from support.pipes import BYTES
from support.protocols import assert_same

# The kind of the fixture is that of sockets: these tests bring their own.
pytestmark = pytest.mark.kinds("unix")


def run_processes(env, main):
    """Watchers of children keep the loop, or a thread, a little longer than the test."""
    env.check_references = False
    env.run(main())


CAT = [sys.executable, "-c", "import shutil, sys; "
       "shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"]


def test_subprocess_pipes_are_ours(env):
    """On asyncio's loops they are made by connect_*_pipe(); uvloop has its own."""
    async def main():
        process = await asyncio.create_subprocess_exec(
            *CAT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for number in range(3):
            transport = process._transport.get_pipe_transport(number)
            assert (type(transport).__module__ == "aiofastnet._core") == (
                env.implementation == "ours"), transport
        output, errors = await process.communicate(BYTES)
        assert_same(output, BYTES)
        assert errors == b"" and process.returncode == 0

    run_processes(env, main)


def test_subprocess_that_does_not_read_its_input(env):
    """communicate() with a child that ends at once raises nothing."""
    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('done')", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        output, _ = await process.communicate(BYTES)
        assert output == b"done\n" and process.returncode == 0

    run_processes(env, main)


def test_subprocess_streams(env):
    """Line by line both ways, then the end of the input."""
    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-uc", "import sys\nfor line in sys.stdin: print(line.upper(), end='')",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(20):
            process.stdin.write(b"line %d\n" % number)
            await process.stdin.drain()
            assert await process.stdout.readline() == b"LINE %d\n" % number
        process.stdin.close()
        await process.stdin.wait_closed()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0

    run_processes(env, main)


def test_many_subprocesses_at_once(env):
    """Eight children; each gets its own bytes back."""
    async def one(number):
        process = await asyncio.create_subprocess_exec(
            *CAT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        data = b"%d" % number * 100000
        output, _ = await process.communicate(data)
        assert_same(output, data)
        return process.returncode

    async def main():
        assert await asyncio.gather(*map(one, range(8))) == [0] * 8

    run_processes(env, main)
