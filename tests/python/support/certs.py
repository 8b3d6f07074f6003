# SPDX-License-Identifier: MIT
"""Certificates of one test session, made with the openssl command."""
import copy
import ssl
import subprocess


class Certificates:
    """A small authority, and the files and contexts that the tests need from it."""

    def __init__(self, directory):
        self.directory = directory
        self._prepare = lambda context: None
        self.ca = self._path("ca.pem")
        self._key("ca")
        self._openssl("req", "-x509", "-new", "-key", self._path("ca.key"), "-subj", "/CN=Test CA",
                      "-days", "30", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                      "-out", self.ca)
        self._key("other-ca")
        self.other_ca = self._path("other-ca.pem")
        self._openssl("req", "-x509", "-new", "-key", self._path("other-ca.key"),
                      "-subj", "/CN=Other CA", "-days", "30", "-out", self.other_ca)
        self._leaf("server", "localhost", "DNS:localhost,IP:127.0.0.1,IP:::1")
        self._leaf("second", "second.test", "DNS:second.test")
        self._leaf("wronghost", "wrong.test", "DNS:wrong.test")
        self._leaf("client", "client", "DNS:client.test")
        self._leaf("expired", "localhost", "DNS:localhost", expired=True)

    def _path(self, name):
        return str(self.directory / name)

    def _openssl(self, *args):
        subprocess.run(("openssl",) + args, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def _key(self, name):
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
                      "-out", self._path(name + ".key"))

    def _leaf(self, name, common_name, alternative, expired=False):
        self._key(name)
        request, extensions = self._path(name + ".csr"), self._path(name + ".ext")
        self._openssl("req", "-new", "-key", self._path(name + ".key"),
                      "-subj", "/CN=" + common_name, "-out", request)
        with open(extensions, "w") as file:
            file.write("subjectAltName=" + alternative + "\n")
        sign = ["x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._path("ca.key"),
                "-CAcreateserial", "-extfile", extensions, "-out", self._path(name + ".pem")]
        if not expired:
            self._openssl(*sign, "-days", "30")
            return
        try:
            self._openssl(*sign, "-days", "-1")
        except subprocess.CalledProcessError:
            # Newer openssl commands want dates instead of a negative number of days.
            self._openssl(*sign, "-not_before", "20200101000000Z", "-not_after", "20200201000000Z")

    def chain(self, name):
        """Arguments of SSLContext.load_cert_chain for the named certificate."""
        return self._path(name + ".pem"), self._path(name + ".key")

    def with_contexts(self, prepare):
        """The same certificates, in contexts that are given to `prepare` first."""
        same = copy.copy(self)
        same._prepare = prepare
        return same

    def server_context(self, version=None, name="server"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.chain(name))
        pin(context, version)
        self._prepare(context)
        return context

    def client_context(self, version=None, cafile=None):
        context = ssl.create_default_context(cafile=cafile or self.ca)
        pin(context, version)
        self._prepare(context)
        return context


def pin(context, version):
    """Allow only the given TLS version, when one is given."""
    if version is not None:
        context.minimum_version = version
        context.maximum_version = version
