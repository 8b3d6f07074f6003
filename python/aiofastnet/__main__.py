# SPDX-License-Identifier: MIT
"""`python3 -m aiofastnet`: say what this installation uses."""

import platform

import aiofastnet

_ENGINES = {
    "openssl": "openssl (libaiofastnet drives the SSL objects of the ssl module)",
    "python": "python (ssl.MemoryBIO, slower)",
}


def _lines(facts):
    yield "aiofastnet", facts["version"]
    yield "libaiofastnet", facts["library_version"]
    yield "Python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "TLS engine", _ENGINES.get(facts["engine"], facts["engine"])
    if facts["reason"]:
        yield "because", facts["reason"]
    yield "OpenSSL", facts["libssl"]
    yield "kernel TLS", "compiled in" if facts["ktls_compiled"] else "not compiled in"


def main():
    for label, value in _lines(aiofastnet.info()):
        print(f"{label + ':':<15} {value}")


if __name__ == "__main__":
    main()
