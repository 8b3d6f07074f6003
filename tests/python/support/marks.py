# SPDX-License-Identifier: MIT
"""Short names of the marks that the tests use."""
import pytest

from .env import PLAIN, TLS

tls_only = pytest.mark.kinds(*TLS)
plain_only = pytest.mark.kinds(*PLAIN)
tcp_only = pytest.mark.kinds("tcp")
inet_only = pytest.mark.kinds("tcp", *TLS)
one_tls = pytest.mark.kinds("tls13", "pyengine", "ktls13")
improvement = pytest.mark.improvement
