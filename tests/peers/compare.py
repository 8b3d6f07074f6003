# SPDX-License-Identifier: MIT
"""Runs somebody else's tests twice, on loops as they are and on patched ones, and compares.

No test that passes on the loops as they are may fail on patched ones, apart from those of a list
with a reason for each.  A test that ended differently is run again on its own, on both sides,
before it is judged.
"""
import argparse
import concurrent.futures
import dataclasses
import fnmatch
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77            # the exit status of what could not be run, as automake has it
MAX_CRASHES = 20        # of one side: then the rest of it is left alone
USAGE_ERROR = 4         # the exit status of pytest
MAX_RERUNS = 60         # tests run again on their own, at most
ENGINES = ("openssl", "python")     # as aiofastnet.info() names them
ENDINGS = ("passed both", "only patched", "listed", "unsteady", "neither", "skipped")


class Skipped(Exception):
    """The suite cannot be had, or not be run, here."""


class Failed(Exception):
    """The run itself went wrong."""


@dataclasses.dataclass
class Suite:
    name: str
    tests: list                     # arguments of pytest: files, or modules
    rootdir: pathlib.Path           # what the ids of tests are relative to
    options: list = ()              # more arguments of pytest
    environment: dict = dataclasses.field(default_factory=dict)
    prefix: list = ()               # what runs the command
    policy: str = None              # the module of another event loop policy
    limit: int = 120                # seconds for one test
    expected: pathlib.Path = None   # which tests may fail, and why


@dataclasses.dataclass
class Build:
    directory: pathlib.Path
    python: str
    pytest_path: str

    @classmethod
    def find(cls, directory):
        makefile = pathlib.Path(directory, "Makefile")
        if not makefile.exists():
            raise Failed(f"{directory} is no build directory: use --build DIR, or set AFN_BUILD")
        variables = dict(re.findall(r"^(PYTHON|PYTEST_PATH) = *(.*)$", makefile.read_text(), re.M))
        return cls(makefile.resolve().parent, variables["PYTHON"], variables["PYTEST_PATH"])

    @property
    def path(self):
        return os.pathsep.join(filter(None, (str(self.directory / "python" / "stage"), str(HERE),
                                             self.pytest_path)))


# ---- running ----

def run_once(suite, build, task):
    """Run pytest once; what it noted, and what it printed."""
    with tempfile.TemporaryDirectory(prefix="afn-peer-") as scratch:
        results = pathlib.Path(scratch, "results")
        results.touch()
        environment = {
            **os.environ, **suite.environment, "PYTHONDONTWRITEBYTECODE": "1",
            "AFN_PEER": json.dumps({**task, "results": str(results), "policy": suite.policy,
                                    "limit": suite.limit}),
            "PYTHONPATH": os.pathsep.join(filter(None, (suite.environment.get("PYTHONPATH"),
                                                        build.path)))}
        command = [*suite.prefix, build.python, "-m", "pytest", "-q", "--tb=short",
                   "-p", "peer_plugin", "-p", "no:cacheprovider", "-p", "no:faulthandler",
                   "-c", os.devnull, "--rootdir", suite.rootdir,
                   "--basetemp", pathlib.Path(scratch, "pytest"), *suite.options, *suite.tests]
        run = subprocess.run(list(map(str, command)), env=environment, cwd=scratch,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace")
        lines = [json.loads(line) for line in results.read_text().splitlines()]
    return lines, run.stdout


@dataclasses.dataclass
class Side:
    outcomes: dict = dataclasses.field(default_factory=dict)    # by the id of the test
    texts: dict = dataclasses.field(default_factory=dict)       # how it failed
    transports: int = 0
    engine: str = None


def run_side(suite, build, engine, only=None):
    """Run all tests, or those in `only`, on loops as they are if the engine is None.

    A test that ends the process counts as crashed.
    """
    side = Side()
    for _ in range(MAX_CRASHES):
        task = {"engine": engine, "only": only, "done": list(side.outcomes)}
        lines, output = run_once(suite, build, task)
        running, finished = None, False
        for line in lines:
            if "broken" in line:
                raise Failed(f"{suite.name}: {line['broken']}: {line['text']}")
            if "started" in line:
                running = line["started"]
                side.outcomes[running] = "passed"
            elif "id" in line and side.outcomes.get(line["id"], "passed") == "passed":
                # The first ending that is not a success is the test's.
                side.outcomes[line["id"]] = line["outcome"]
                side.texts[line["id"]] = line["text"]
            elif "finished" in line:
                if line["finished"] == USAGE_ERROR:
                    raise Failed(f"{suite.name}: pytest did not take its arguments:\n{output}")
                finished = True
                side.transports += line["transports"]
                side.engine = line["engine"]
        if finished:
            return side
        if running is None:
            raise Failed(f"{suite.name}: pytest did not get to the tests:\n{output[-4000:]}")
        side.outcomes[running] = "crashed"
        side.texts[running] = output[-6000:]
    return side


def run_both(suite, build, engine, only=None):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        stock = pool.submit(run_side, suite, build, None, only)
        patched = pool.submit(run_side, suite, build, engine, only)
        return stock.result(), patched.result()


# ---- judging ----

class Expected:
    """Which tests may fail on patched loops only: in each paragraph a reason, then, indented,
    patterns of the ids of tests."""

    def __init__(self, path):
        self.reasons = {}
        self.used = set()
        reason = []
        for line in path.read_text().splitlines() if path is not None else []:
            if line.startswith("#") or not line.strip():
                reason = []
            elif line[0].isspace():
                self.reasons[line.strip()] = " ".join(reason)
            else:
                reason = reason + [line]

    def why(self, test):
        for pattern, reason in self.reasons.items():
            if fnmatch.fnmatchcase(test, pattern):
                self.used.add(pattern)
                return reason
        return None

    def stale(self, tests):
        """Patterns of tests that pass on stock loops, and did not fail on patched ones."""
        return [pattern for pattern in self.reasons if pattern not in self.used
                and fnmatch.filter(tests, pattern)]


def differing(stock, patched):
    return [test for test, outcome in stock.outcomes.items()
            if outcome == "passed" and patched.outcomes.get(test) != "passed"]


def confirm(suite, build, engine, suspects, report):
    """Those of the suspects that fail on patched loops, and only there, on their own too."""
    if len(suspects) > MAX_RERUNS:
        return suspects
    confirmed = []
    for test in suspects:
        stock, patched = run_both(suite, build, engine, only=[test])
        if differing(stock, patched):
            confirmed.append(test)
        else:
            report(f"   unsteady, as on its own it ends alike on both: {test}")
    return confirmed


def ending(stock, patched, is_listed, is_regression):
    if stock != "passed":
        return "skipped" if stock == "skipped" else "neither"
    if patched == "passed":
        return "passed both"
    if is_listed:
        return "listed"
    return "only patched" if is_regression else "unsteady"


def judge(suite, build, engine, stock, patched, report=print):
    """Compare; return the counts of ENDINGS, and whether that is as it should be."""
    expected = Expected(suite.expected)
    suspects = differing(stock, patched)
    listed = {test for test in suspects if expected.why(test)}
    regressions = confirm(suite, build, engine, [test for test in suspects if test not in listed],
                          report)
    is_good = not regressions
    for test in regressions:
        report(f"-- fails on patched loops only: {test}: {patched.outcomes.get(test, 'not run')}\n"
               f"{patched.texts.get(test, '')}")
    passing = [test for test, outcome in stock.outcomes.items() if outcome == "passed"]
    for pattern in expected.stale(passing):
        is_good = False
        report(f"-- listed in {suite.expected.name}, but passes: {pattern}")
    if patched.transports == 0 or stock.transports != 0:
        is_good = False
        report(f"-- {patched.transports} transports of aiofastnet on patched loops, and "
               f"{stock.transports} on others")
    if patched.engine != engine:
        is_good = False
        report(f"-- the engine is {patched.engine}, not {engine}")
    counts = dict.fromkeys(ENDINGS, 0)
    for test, outcome in stock.outcomes.items():
        counts[ending(outcome, patched.outcomes.get(test), test in listed,
                      test in regressions)] += 1
    if counts["passed both"] == 0:
        is_good = False
        report("-- no test passed")
    return counts, is_good


def compare(suite, build, engines, keep=None):
    """Compare with each engine, and print what came of it; True if that is as it should be."""
    stock, is_good = None, True
    for engine in engines:
        if stock is None:
            stock, patched = run_both(suite, build, engine)
        else:
            patched = run_side(suite, build, engine)
        counts, is_this_good = judge(suite, build, engine, stock, patched)
        print(row(f"{suite.name}, {engine} engine", counts, patched.transports, is_this_good),
              flush=True)
        is_good &= is_this_good
        if keep is not None:
            path = keep / f"{suite.name}-{engine}.json".replace(" ", "-")
            path.write_text(json.dumps([dataclasses.asdict(stock), dataclasses.asdict(patched)]))
    return is_good


def row(name, counts, transports, is_good):
    figures = ", ".join(f"{counts[key]} {key}" for key in ENDINGS)
    return f"== {name}: {figures}; {transports} transports: {'good' if is_good else 'REGRESSION'}"


# ---- the command line that all suites have ----

def main(description, make_suites):
    """Compare the suites of make_suites(build, scratch, options); end the process."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build",
                        default=os.environ.get("AFN_BUILD", HERE.parent.parent / "build"),
                        help="the build directory; its Python is used (default: $AFN_BUILD, build)")
    parser.add_argument("--engine", choices=ENGINES,
                        help="the TLS engine (default: one after the other; with --ci, the first)")
    parser.add_argument("--source", type=pathlib.Path,
                        help="the unpacked source with the tests, instead of the distribution's")
    parser.add_argument("--keep", type=pathlib.Path, help="write all outcomes to files here")
    parser.add_argument("--ci", action="store_true", help="run what takes a few minutes only")
    options = parser.parse_args()
    engines = [options.engine] if options.engine else ENGINES[:1] if options.ci else ENGINES
    worst = 0
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="afn-peers-") as scratch:
        try:
            build = Build.find(options.build)
            for suite in make_suites(build, pathlib.Path(scratch), options):
                if not compare(suite, build, engines, options.keep):
                    worst = 1
        except Skipped as reason:
            print(f"{parser.prog}: NOT RUN: {reason}")
            worst = worst or SKIPPED
        except Failed as reason:
            print(f"{parser.prog}: failed: {reason}")
            worst = 1
    sys.exit(worst)
