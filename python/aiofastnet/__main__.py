# SPDX-License-Identifier: MIT
"""`python3 -m aiofastnet`: say what this installation uses."""

import aiofastnet

_ENGINES = {
    "openssl": "openssl (libaiofastnet drives the SSL objects of the ssl module)",
    "python": "python (ssl.MemoryBIO, slower)",
}


def _place(text, path):
    return f"{text} ({path})" if path else text


def _kernel_tls(facts):
    if not facts["ktls_kernel"]:
        return "no: " + facts["ktls_reason"]
    return "yes, with " + (", ".join(facts["ktls_ciphers"]) or "no cipher known here")


def _lines(facts):
    yield "aiofastnet", facts["version"]
    yield "libaiofastnet", _place(facts["library_version"], facts["library_path"])
    yield "Python", facts["python"]
    yield "uvloop", facts["uvloop"] or "not installed"
    yield "TLS engine", _ENGINES.get(facts["engine"], facts["engine"])
    yield "because", facts["reason"] or "the module ssl uses the same copy of OpenSSL"
    yield "OpenSSL", _place(facts["libssl"], facts["libssl_path"])
    yield "of Python's ssl", _place(facts["python_libssl"] or "none", facts["python_libssl_path"])
    yield "kernel TLS", "compiled in" if facts["ktls_compiled"] else "not compiled in"
    yield f"in Linux {facts['kernel']}", _kernel_tls(facts)


def main():
    lines = list(_lines(aiofastnet.info()))
    width = max(len(label) for label, _ in lines) + 2
    for label, value in lines:
        print(f"{label + ':':<{width}}{value}")


if __name__ == "__main__":
    main()
