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


def _with_sources(text):
    """What a file of apt's sources says, for source packages."""
    text = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.M)
    return re.sub(r"^deb(-src)?\s", "deb-src ", text, flags=re.M)


class Apt:
    def __init__(self, directory):
        self.directory = directory
        self.options = []
        for name, value in (("Dir::Etc::SourceList", "/dev/null"),
                            ("Dir::Etc::SourceParts", directory / "parts"),
                            ("Dir::State::Lists", directory / "lists"),
                            ("Dir::Cache", directory / "cache"),
                            ("APT::Sandbox::User", "")):
            self.options += ["-o", f"{name}={value}"]

    def run(self, program, *arguments, cwd=None):
        run = subprocess.run([program, *self.options, *arguments], cwd=cwd or self.directory,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        return run.returncode == 0, run.stdout

    def update(self):
        parts = self.directory / "parts"
        if parts.exists():
            return
        (self.directory / "lists").mkdir(parents=True)
        (self.directory / "cache").mkdir()
        parts.mkdir()
        for path in (APT / "sources.list", *(APT / "sources.list.d").glob("*")):
            if path.suffix in (".list", ".sources") and path.exists():
                (parts / path.name).write_text(_with_sources(path.read_text()))
        is_good, output = self.run("apt-get", "-q", "update")
        if not is_good:
            raise compare.Skipped("apt-get update of source packages failed:\n" + output)

    def versions(self, package):
        """The newest first; apt lists them in the order of the suites."""
        _, output = self.run("apt-cache", "--only-source", "showsrc", package)
        return re.findall(r"^Version: (.*)$", output, re.M)[::-1]


def unpack(package, scratch):
    """The directory of the unpacked source package; Skipped when it cannot be had."""
    apt = Apt(pathlib.Path(os.environ.get("AFN_PEER_APT", scratch / "apt")))
    apt.update()
    directory = scratch / package
    directory.mkdir()
    output = f"there is no source package {package}"
    for version in apt.versions(package):
        is_good, output = apt.run("apt-get", "-q", "source", "--download-only",
                                  f"{package}={version}", cwd=directory)
        description = next(directory.glob("*.dsc"), None) if is_good else None
        if description is not None:
            subprocess.run(["dpkg-source", "--no-check", "-x", description, directory / "source"],
                           check=True, stdout=subprocess.DEVNULL)
            print(f"   {package} {version}")
            return directory / "source"
    raise compare.Skipped(f"the source package {package} cannot be had: "
                          + output.strip().splitlines()[-1])
