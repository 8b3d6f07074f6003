# SPDX-License-Identifier: MIT
"""Short names of the marks that the tests use."""
import sys

import pytest

from .env import PLAIN, TLS

tls_only = pytest.mark.kinds(*TLS)
plain_only = pytest.mark.kinds(*PLAIN)
tcp_only = pytest.mark.kinds("tcp")
inet_only = pytest.mark.kinds("tcp", *TLS)
one_tls = pytest.mark.kinds("tls13", "pyengine", "ktls13")
improvement = pytest.mark.improvement
# What comes first: Server.wait_closed() or Server.close().
wait_or_close_first = pytest.mark.parametrize("first", ["wait", pytest.param(
    "close", marks=pytest.mark.skipif(sys.version_info < (3, 12, 1),
                                      reason="it does not wait then before Python 3.12.1"))])
