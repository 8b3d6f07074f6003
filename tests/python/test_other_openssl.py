# SPDX-License-Identifier: MIT
"""T6: a Python whose module _ssl uses another copy of OpenSSL than the library.

The copy is that of this Python, under other names of the same length, so that the dynamic linker
takes it for another library: the names stand in the files as they are.
"""
import json
import os
import re
import subprocess
import sys

import pytest

_ssl = pytest.importorskip("_ssl")

TESTS = os.path.dirname(os.path.abspath(__file__))
NAMES = {"libssl.so": "libss2.so", "libcrypto.so": "libcrypt2.so"}


def rename(text):
    for name, other in NAMES.items():
        text = text.replace(name, other)
    return text


def copy(source, directory):
    with open(source, "rb") as file:
        content = file.read()
    for name, other in NAMES.items():
        content = content.replace(name.encode(), other.encode())
    path = os.path.join(directory, rename(os.path.basename(source)))
    with open(path, "wb") as file:
        file.write(content)
    return path


def libraries():
    """The files of the OpenSSL that this process has loaded."""
    with open("/proc/self/maps") as file:
        return {path for line in file
                for path in re.findall(r"/\S*/lib(?:ssl|crypto)\.so\S*$", line.rstrip())}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The environment of a Python that finds the copies first."""
    module = getattr(_ssl, "__file__", None)
    if module is None:
        pytest.skip("_ssl is in the interpreter")
    with open(module, "rb") as file:
        if b"libssl.so" not in file.read():
            pytest.skip("_ssl has an OpenSSL of its own as it is")
    directory = str(tmp_path_factory.mktemp("other-openssl"))
    for path in (module, *libraries()):
        copy(path, directory)
    environment = dict(os.environ)
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
        environment[name] = ":".join([directory] + os.environ.get(name, "").split(":")).rstrip(":")
    return environment


def run(environment, *args):
    done = subprocess.run([sys.executable, *args], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_another_copy_of_openssl_is_noticed(ours, other):
    """The engine is the one that needs no SSL of the module's, and info() says why."""
    if ours.info()["engine"] != "openssl":
        pytest.skip("it is another copy as it is")
    program = "import aiofastnet, json; print(json.dumps(aiofastnet.info()))"
    info = json.loads(run(other, "-c", program))
    assert info["engine"] == "python"
    assert info["reason"] == "the module ssl of this Python uses another copy of OpenSSL"
    assert os.path.basename(info["python_libssl_path"]).startswith("libss2.so")
    assert info["libssl_path"] == ours.info()["libssl_path"]
    assert info["ktls_compiled"] == ours.info()["ktls_compiled"]
    text = run(other, "-m", "aiofastnet")
    assert info["python_libssl_path"] in text and info["libssl_path"] in text
    assert info["reason"] in text


def test_upgrades_pass_their_tests_with_another_copy_of_openssl(ours, other):
    """Those of one kind, as a sample of all tests."""
    text = run(other, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--rootdir", TESTS,
               "-k", "ours-tls13 and (upgrades or failed or before or right)",
               os.path.join(TESTS, "test_start_tls.py"))
    assert re.search(r"^[1-9]\d* passed", text, re.M), text
