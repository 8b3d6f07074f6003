# SPDX-License-Identifier: MIT
"""What compare and syscalls share: the servers that are compared, and the load that drives them."""
import collections
import json
import os
import select
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60  # seconds for the answer to one order; only a hang takes longer

# build: the directory of another build, whose aiofastnet it is; None for the one that is measured.
# protocol: a module whose Echo the server has, or None.
Variant = collections.namedtuple("Variant", "name title kind build protocol",
                                 defaults=[None, None])
VARIANTS = [
    Variant("c", "bare C", None),
    Variant("asyncio", "asyncio", "asyncio"),
    Variant("uvloop", "uvloop", "uvloop"),
    Variant("ours-asyncio", "ours, asyncio", "aiofastnet-asyncio"),
    Variant("ours-uvloop", "ours, uvloop", "aiofastnet-uvloop"),
]


class Failed(Exception):
    """A server or the load did not do what it was asked; says why in one line."""


def environment_with(build):
    """The environment in which Python finds the aiofastnet of a build, if that has one."""
    environment = dict(os.environ)
    stage = os.path.join(build, "python", "stage")
    if os.path.isdir(stage):
        paths = [os.path.abspath(stage), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


class Setup:
    """Where things are, and which processor runs what."""

    def __init__(self, build, python):
        self.programs = os.path.join(build, "bench")
        self.python = python
        self.environment = environment_with(build)
        self.directory = tempfile.TemporaryDirectory(prefix="aiofastnet-bench-")
        self.server_cpu, self.load_cpu = choose_cpus()
        for program in ("bare-server", "load"):
            if not os.access(self.program(program), os.X_OK):
                raise SystemExit("{} is missing: build it with make, or say where with --build"
                                 .format(self.program(program)))

    def program(self, name):
        return os.path.join(self.programs, name)

    def certificate(self):
        """The file names of an EC P-256 certificate and its key, made when first asked for."""
        files = [os.path.join(self.directory.name, name) for name in ("cert.pem", "key.pem")]
        if not os.path.exists(files[0]):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                 "-out", files[0], "-keyout", files[1]],
                check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return files

    def server_command(self, variant, is_tls):
        files = self.certificate() if is_tls else []
        if variant.kind is None:
            return [self.program("bare-server")] + files
        command = [self.python, os.path.join(HERE, "server.py"), variant.kind]
        if variant.protocol is not None:
            command += ["--protocol", variant.protocol]
        return command + (["--tls"] + files if files else [])


def choose_cpus():
    """One processor for the server and another, of another core if there is one, for the load."""
    cpus = sorted(os.sched_getaffinity(0))
    server = cpus[-1]
    path = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list".format(server)
    siblings = set()
    if os.path.exists(path):
        with open(path) as file:
            for part in file.read().strip().split(","):
                first, _, last = part.partition("-")
                siblings.update(range(int(first), int(last or first) + 1))
    others = [cpu for cpu in cpus if cpu != server]
    apart = [cpu for cpu in others if cpu not in siblings]
    return server, (apart or others or [server])[0]


class Worker:
    """A process that answers each line written to it with one line."""

    def __init__(self, command, cpu, environment=None):
        self.errors = tempfile.TemporaryFile()
        self.pending = b""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            env=environment, bufsize=0, preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))

    def read_line(self):
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Failed("no answer in {} seconds".format(PATIENCE))
            data = os.read(self.process.stdout.fileno(), 4096)
            if not data:
                raise Failed(self.last_words())
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return line.decode()

    def ask(self, order):
        try:
            self.process.stdin.write("{}\n".format(order).encode())
        except BrokenPipeError:
            raise Failed(self.last_words()) from None
        return self.read_line()

    def last_words(self):
        status = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "ended with status {}".format(status)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


class Server(Worker):
    def __init__(self, setup, variant, is_tls, wrapper=()):
        command = list(wrapper) + setup.server_command(variant, is_tls)
        environment = environment_with(variant.build) if variant.build else setup.environment
        super().__init__(command, setup.server_cpu, environment)
        self.variant = variant
        self.port = None
        self.asking = 0.0

    def wait_until_listening(self):
        self.port = self.read_line().strip()

    def usage(self):
        """Processor time used so far, in seconds."""
        usage = json.loads(self.ask("usage"))
        transport = usage["transport"]
        if transport and (self.variant.kind or "").startswith("aiofastnet"):
            if not transport.startswith("aiofastnet"):
                raise Failed("its transports are {}, not ours".format(transport))
        return usage["user"] + usage["system"]

    def learn_cost_of_asking(self):
        times = [self.usage() for _ in range(8)]
        self.asking = min(after - before for before, after in zip(times, times[1:]))

    def private_memory(self):
        """Bytes that only this process holds."""
        with open("/proc/{}/smaps_rollup".format(self.process.pid)) as file:
            for line in file:
                if line.startswith("Private_Dirty:"):
                    return int(line.split()[1]) * 1024
        raise Failed("the kernel does not tell its memory")


class Load(Worker):
    def __init__(self, setup, *words):
        super().__init__([setup.program("load")] + [str(word) for word in words], setup.load_cpu)

    def run(self, seconds):
        requests, elapsed = self.ask(seconds).split()
        return int(requests), float(elapsed)
