# SPDX-License-Identifier: MIT
"""The curl command as a client."""
import os
import shutil
import subprocess

import pytest

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl command")


def run_curl(*arguments):
    """What it writes to its standard output."""
    # The runtimes of some sanitizers, which the tests preload for Python, make it wait for ever.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return subprocess.run(["curl", "--silent", "--show-error", "--noproxy", "*", *arguments],
                          check=True, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE).stdout
