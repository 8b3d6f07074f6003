# SPDX-License-Identifier: MIT
"""A pytest plugin: runs somebody else's tests, on loops patched by aiofastnet or not.

What it does is in AFN_PEER, a JSON object:
    results   the file to which a line of JSON is appended for each test that starts and ends
    engine    patch every new event loop, and take this TLS engine; null for loops as they are
    policy    the module whose event loop policy is to be used, or null for asyncio's
    only      the tests to run, by their ids; null for all
    done      the tests not to run
    limit     seconds for one test: then the process ends with all its stacks
"""
import asyncio
import faulthandler
import functools
import gc
import importlib
import json
import os
import traceback

import pytest

TASK = json.loads(os.environ["AFN_PEER"])
transports = 0


def note(**line):
    with open(TASK["results"], "a", encoding="utf-8") as results:
        results.write(json.dumps(line) + "\n")


def patch_every_loop(kind):
    """Patch each loop as soon as it is constructed, however that is done."""
    import aiofastnet

    construct = kind.__init__

    @functools.wraps(construct)
    def construct_and_patch(self, *args, **kwargs):
        construct(self, *args, **kwargs)
        aiofastnet.patch_loop(self)

    kind.__init__ = construct_and_patch


def count_transports():
    """Connections that are made, and listeners, of whatever loop; those accepted are not seen."""
    from aiofastnet._adapter import LoopAdapter

    def counting(make):
        @functools.wraps(make)
        def count_and_make(self, *args, **kwargs):
            global transports
            transports += 1
            return make(self, *args, **kwargs)
        return count_and_make

    for name in ("_make_socket_transport", "_make_ssl_transport", "_start_serving"):
        setattr(LoopAdapter, name, counting(getattr(LoopAdapter, name)))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.peer_stderr = os.fdopen(os.dup(2), "w")
    if TASK["policy"] is not None:
        module = importlib.import_module(TASK["policy"])
        asyncio.set_event_loop_policy(module.EventLoopPolicy())
    if TASK["engine"] is not None:
        count_transports()
        if TASK["engine"] == "python":
            importlib.import_module("aiofastnet._core").force_python_engine(True)
        patch_every_loop(asyncio.SelectorEventLoop)
        if TASK["policy"] is not None:
            patch_every_loop(module.Loop)


def pytest_collection_modifyitems(config, items):
    chosen = [item for item in items if item.nodeid not in TASK["done"]
              and (TASK["only"] is None or item.nodeid in TASK["only"])]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def pytest_collection_finish(session):
    # Many tests collect garbage themselves: they need not look at what pytest has piled up.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    note(started=item.nodeid)
    faulthandler.dump_traceback_later(TASK["limit"], exit=True, file=item.config.peer_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        note(id=report.nodeid, outcome=report.outcome, text=str(report.longrepr or ""))


def pytest_collectreport(report):
    if report.failed:
        note(broken=report.nodeid, text=str(report.longrepr))


def pytest_internalerror(excrepr, excinfo):
    note(broken="pytest", text="".join(traceback.format_exception_only(
        excinfo.type, excinfo.value)) + str(excrepr))


def pytest_sessionfinish(session, exitstatus):
    engine = None
    if TASK["engine"] is not None:
        engine = importlib.import_module("aiofastnet").info()["engine"]
    note(finished=int(exitstatus), transports=transports, engine=engine)
