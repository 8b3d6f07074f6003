# SPDX-License-Identifier: MIT
"""Fetches source packages of the distribution, with the machine's own apt sources.

Nothing of the machine's apt configuration is changed: lists and downloads go to a directory.
"""
import os
import pathlib
import re
import subprocess

import compare

APT = pathlib.Path("/etc/apt")
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LATER_SUITES = "sid trixie"     # apt's last one is asked first


def _own_sources():
    """What apt's sources are on this machine, for source packages: texts by the names of files."""
    texts = {}
    for path in (APT / "sources.list", *(APT / "sources.list.d").glob("*")):
        if path.suffix in (".list", ".sources") and path.exists():
            text = re.sub(r"^Types:.*$", "Types: deb-src", path.read_text(), flags=re.M)
            texts[path.name] = re.sub(r"^deb(-src)?\s", "deb-src ", text, flags=re.M)
    return texts


def _later_sources():
    """Later suites, of the same archive."""
    archive = re.search(r"\w+://\S+/debian/?(?=\s)", "\n".join(_own_sources().values()))
    if archive is None:
        return {}
    return {"later.sources": f"Types: deb-src\nURIs: {archive[0]}\nSuites: {LATER_SUITES}\n"
                             "Components: main\n" + f"Signed-By: {KEYRING}\n" * KEYRING.exists()}


def _reason(output):
    """The line of apt's output that says why there is nothing."""
    errors = re.findall(r"^E: (.*)$", output, re.M)
    return errors[0] if errors else (output.strip().splitlines() or ["nothing was said"])[-1]


class Apt:
    def __init__(self, directory):
        self.directory = directory
        self.parts = directory / "parts"
        self.options = []
        for name, value in (("Dir::Etc::SourceList", "/dev/null"),
                            ("Dir::Etc::SourceParts", self.parts),
                            ("Dir::State::Lists", directory / "lists"),
                            ("Dir::Cache", directory / "cache"),
                            ("APT::Sandbox::User", "")):
            self.options += ["-o", f"{name}={value}"]

    def run(self, program, *arguments, cwd=None):
        run = subprocess.run([program, *self.options, *arguments], cwd=cwd or self.directory,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        return run.returncode == 0, run.stdout

    def update(self, sources):
        """Get the lists of these sources, once."""
        if self.parts.exists():
            return
        (self.directory / "lists").mkdir(parents=True)
        (self.directory / "cache").mkdir()
        self.parts.mkdir()
        for name, text in sources.items():
            (self.parts / name).write_text(text)
        is_good, output = self.run("apt-get", "-q", "update")
        if not is_good:
            raise compare.Skipped("apt-get update of source packages failed:\n" + output)

    def versions(self, package):
        """Those of the last suite first; apt lists them in the order of the suites."""
        _, output = self.run("apt-cache", "--only-source", "showsrc", package)
        return list(dict.fromkeys(re.findall(r"^Version: (.*)$", output, re.M)[::-1]))

    def fetch(self, package, version, directory, options, pattern):
        """Download to the directory: the file of that pattern, or None and why."""
        directory.mkdir(parents=True, exist_ok=True)
        is_good, output = self.run("apt-get", "-q", "source", "--download-only", *options,
                                   f"{package}={version}", cwd=directory)
        found = next(directory.glob(pattern), None) if is_good else None
        return found, _reason(output)

    def fetch_any(self, package, directory, reasons):
        """A source package of any version, or at least what its authors released: the file or None.

        `reasons` is told why versions cannot be had.
        """
        versions = self.versions(package)
        for options, pattern in (((), "*.dsc"), (("--tar-only",), "*.orig.tar.*")):
            for version in versions:
                found, why = self.fetch(package, version, directory / version, options, pattern)
                if found is not None:
                    return found
                reasons.setdefault(version, why)
        return None


def _unpack_file(path, directory):
    if path.suffix == ".dsc":
        command = ["dpkg-source", "--no-check", "-x", path, directory]
    else:
        directory.mkdir()
        command = ["tar", "-x", "--no-same-owner", "--strip-components=1", "-f", path, "-C",
                   directory]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def unpack(package, scratch, any_suite=False):
    """The directory of the unpacked source package; Skipped when it cannot be had.

    It is one of the suites whose binary packages the machine uses, unless `any_suite` says that
    those of later ones do as well: the tests then bring what they test.
    """
    directory = pathlib.Path(os.environ.get("AFN_PEER_APT", scratch / "apt"))
    reasons = {}
    for name, sources in (("own", _own_sources), ("later", _later_sources))[:1 + any_suite]:
        apt = Apt(directory / name)
        apt.update(sources())
        found = apt.fetch_any(package, scratch / package, reasons)
        if found is not None:
            _unpack_file(found, found.parent / "source")
            print(f"   {package} {found.parent.name}: {found.name}", flush=True)
            return found.parent / "source"
    why = "; ".join(f"{version}: {reason}" for version, reason in reasons.items())
    raise compare.Skipped(f"the source package {package} cannot be had: "
                          + (why or "there is none of that name"))
