# SPDX-License-Identifier: MIT
"""Parameters, fixtures and the time limit of the Python tests.

A test with the fixture `env` runs once for every implementation and kind of transport. The stock
transports of the running Python are the oracle: what they do is what the tests ask of ours, save
where a test is marked with `improvement`.

AFN_TEST_REQUIRE=1 makes a missing aiofastnet an error; without it those parameters are skipped.
AFN_TEST_TIME_LIMIT is the limit of one test in seconds, for slow machines and sanitizers.
AFN_TEST_SCALE=N repeats N times what is to leave no memory behind; the time limit has to suit.
AFN_TEST_KTLS=1 adds the kinds ktls12 and ktls13, TLS of ours by the kernel, which must have it.
"""
import asyncio
import faulthandler
import gc
import os
import signal
import sys
import warnings

sys.dont_write_bytecode = True      # the source tree may be read-only

import pytest

from support import env as environment
from support import ktls
from support.certs import Certificates
from support.compiled import Receiving, build
from support.peers import TIME_LIMIT
from support.protocols import Recorder

# Seconds after which the process ends with all stacks, when the limit of a test did not help.
HARD_LIMIT = 3 * TIME_LIMIT
# The versions whose stock transports are known to fail where `improvement` says so; a later patch
# release may have mended some of it.
VERIFIED = ((3, 9, 18), (3, 10, 13), (3, 11, 2), (3, 12, 1), (3, 13, 0),
            (3, 14, 10), (3, 15, 2))


class TimeLimit(SystemExit):
    """The test hangs. Of all exceptions only this family gets through an event loop."""


def pytest_configure(config):
    for line in ("kinds(*names): the kinds of transport that the test is for",
                 "upgrades: the test starts TLS on connections of every kind",
                 "implementations(*names): the implementations that the test is for",
                 "improvement(why, kinds=None, since=None, before=None, run=True, always=True): "
                 "stock asyncio of the given versions does not do this; run: without hanging; "
                 "always: each time"):
        config.addinivalue_line("markers", line)
    for line in ("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning",
                 "error::RuntimeWarning", "error::pytest.PytestUnhandledThreadExceptionWarning",
                 "ignore:.*event loop policy.*:DeprecationWarning"):
        config.addinivalue_line("filterwarnings", line)
    config.stash_stderr = os.fdopen(os.dup(2), "w")


def pytest_unconfigure(config):
    config.stash_stderr.close()


def pytest_generate_tests(metafunc):
    if "env" not in metafunc.fixturenames:
        return
    kinds = marked(metafunc, "kinds", environment.KINDS)
    implementations = marked(metafunc, "implementations", environment.IMPLEMENTATIONS)
    parameters = []
    for implementation in implementations:
        for kind in kinds:
            if implementation == "stock" and kind in environment.OURS_ONLY:
                continue        # stock has one engine: this would be another kind again
            if kind in environment.KTLS and not ktls.WANTED:
                continue
            parameters.append(pytest.param((implementation, kind),
                                           id=implementation + "-" + kind))
    if not parameters and not ktls.WANTED:
        parameters.append(pytest.param(None, marks=pytest.mark.skip("AFN_TEST_KTLS is not set")))
    metafunc.parametrize("env", parameters, indirect=True)


def marked(metafunc, name, default):
    mark = metafunc.definition.get_closest_marker(name)
    return mark.args if mark is not None else default


def expect_stock_to_fail(request, implementation, kind):
    """An xfail for each improvement that stock does not have, strict where that is certain."""
    for mark in request.node.iter_markers("improvement"):
        if implementation == "stock" and concerns(kind, **mark.kwargs):
            request.applymarker(pytest.mark.xfail(
                reason="improvement: " + mark.args[0], run=mark.kwargs.get("run", True),
                strict=mark.kwargs.get("always", True) and sys.version_info[:3] in VERIFIED))


def concerns(kind, kinds=None, since=None, before=None, **_):
    version = sys.version_info[:3]
    return ((kinds is None or kind in kinds) and (since is None or version >= since)
            and (before is None or version < before))


@pytest.fixture(scope="session", autouse=True)
def _first_loops():
    """What the first event loop of each kind leaves for ever, before anything is compared."""
    for implementation in environment.IMPLEMENTATIONS:
        if environment.why_missing(implementation) is None:
            # The first loop of a process opens descriptors that stay (uvloop's signal pipes).
            loop = environment.make_loop(implementation)
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def env(request, certs):
    implementation, kind = request.param
    reason = environment.why_missing(implementation)
    if reason is not None:
        pytest.skip(reason)
    if implementation == "stock" and sys.version_info < (3, 11) and (
            kind in environment.TLS or request.node.get_closest_marker("upgrades")):
        pytest.skip("Python 3.11 replaced asyncio's TLS transport: what was there is no oracle")
    expect_stock_to_fail(request, implementation, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)    # of an earlier, failed test
        gc.collect()
    gc.freeze()         # the collections of the test need not look at what pytest has piled up
    made = environment.Env(implementation, kind, certs)
    before = ktls.tally.start() if made.is_ktls else None
    yield made
    made.dispose()
    if made.is_ktls:
        ktls.tally.end(request.node.nodeid, before)


def pytest_sessionfinish(session):
    if ktls.tally.tests > 0 and ktls.tally.sending == 0 and session.exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    if ktls.tally.tests > 0:
        terminalreporter.section("kernel TLS")
        for line in ktls.tally.describe():
            terminalreporter.line(line)


@pytest.fixture
def ours():
    """The package aiofastnet."""
    reason = environment.why_missing("ours")
    if reason is not None:
        pytest.skip(reason)
    return environment.aiofastnet


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The module of support/compiled.c."""
    reason = environment.why_missing("ours")
    if reason is not None:
        pytest.skip(reason)
    return build(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def make(compiled):
    """The class of Recorders whose data_received is compiled."""
    class CompiledRecorder(Receiving, compiled.Compiled, Recorder):
        pass

    return CompiledRecorder


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """The time limit, of each phase of a test, and not of what pytest then reports about it."""
    def expire(*_):
        raise TimeLimit("no end after %d seconds" % TIME_LIMIT)

    old = signal.signal(signal.SIGALRM, expire)
    # Repeated, because something may swallow the first one.
    signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT, 5)
    faulthandler.dump_traceback_later(HARD_LIMIT, exit=True, file=item.config.stash_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)


pytest_runtest_setup = pytest_runtest_teardown = pytest_runtest_call
