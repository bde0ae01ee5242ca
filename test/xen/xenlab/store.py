# SPDX-License-Identifier: Apache-2.0
"""Debian's xenstored on this machine, without a hypervisor (test/xen/nohv.c), domains that are only introduced, and a client."""
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from . import images

DIRECTORY, READ, GET_PERMS, WATCH, INTRODUCE, RELEASE, WRITE, RM, SET_PERMS, EVENT, ERROR = 1, 2, 3, 4, 8, 9, 11, 13, 14, 15, 16
START_S = 30


class Refused(Exception):
    """xenstored's answer was an error; its name is the text."""


class Client:
    """One connection, of dom0 or of a domain."""

    def __init__(self, path, seconds=10):
        self.socket, self.rest, self.events = socket.socket(socket.AF_UNIX), b"", []
        self.socket.connect(str(path))
        self.socket.settimeout(seconds)

    def ask(self, kind, *words, raw=b""):
        body = b"".join(str(word).encode() + b"\0" for word in words) + raw
        self.socket.sendall(struct.pack("<4I", kind, 1, 0, len(body)) + body)
        while True:
            answered, data = self._message()
            if answered == EVENT:
                self.events.append(data.decode().split("\0")[0])
                continue
            if answered == ERROR:
                raise Refused(data.rstrip(b"\0").decode())
            return data

    def read(self, path):
        return self.ask(READ, path).decode()

    def write(self, path, value):
        self.ask(WRITE, path, raw=str(value).encode())

    def remove(self, path):
        self.ask(RM, path)

    def list(self, path):
        return [name for name in self.ask(DIRECTORY, path).decode().split("\0") if name]

    def permissions(self, path):
        return self.ask(GET_PERMS, path).decode().rstrip("\0").replace("\0", ",")

    def set_permissions(self, path, *each):
        self.ask(SET_PERMS, path, *each)

    def watch(self, path):
        self.ask(WATCH, path, "token")

    def event(self, seconds=10):
        """The path of the next event, or None in that time."""
        deadline = time.monotonic() + seconds
        try:
            while not self.events:
                self.socket.settimeout(max(0.01, deadline - time.monotonic()))
                kind, data = self._message()
                if kind == EVENT:
                    self.events.append(data.decode().split("\0")[0])
        except TimeoutError:
            return None
        finally:
            self.socket.settimeout(10)
        return self.events.pop(0)

    def _message(self):
        kind, _, _, size = struct.unpack("<4I", self._bytes(16))
        return kind, self._bytes(size)

    def _bytes(self, count):
        while len(self.rest) < count:
            got = self.socket.recv(65536)
            if not got:
                raise Refused("xenstored has closed the connection")
            self.rest += got
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def close(self):
        self.socket.close()


class Store:
    """xenstored, from the with statement's beginning to its end."""

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="mw-xs-"))
        root = images.xen_root()
        self.env = {**os.environ, "XENSTORED_RUNDIR": str(self.directory), "XENSTORED_ROOTDIR": str(self.directory),
                    "XENSTORED_PATH": str(self.directory / "socket")}
        build = Path(os.environ.get("MW_BUILD", images.TOP / "build"))
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen([root / f"usr/lib/xen-{images.XEN}/bin/xenstored", "-N", "--pid-file", self.directory / "pid"],
                                            env={**self.env, "LD_PRELOAD": str(build / "libxen-nohv.so"),
                                                 "LD_LIBRARY_PATH": str(root / "usr/lib/x86_64-linux-gnu")}, stdout=log, stderr=log)
        try:
            self.dom0 = self._connect("socket")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def introduce(self, number, name):
        """A domain, with what xl makes for it. Its client."""
        self.dom0.ask(INTRODUCE, number, 0, 1)
        for key, value in (("", ""), ("/domid", number), ("/name", name), ("/data", "")):
            path = f"/local/domain/{number}{key}"
            self.dom0.write(path, value)
            self.dom0.set_permissions(path, f"n{number}")
        return self.connect(number)

    def connect(self, number):
        """One more client, of that domain."""
        return self._connect(f"dom{number}.sock")

    def release(self, number):
        """The domain ends."""
        self.dom0.ask(RELEASE, number)

    def socket_of(self, number):
        return self.directory / f"dom{number}.sock"

    def mw(self, *words, number=None):
        """(status, output) of `mw xen`, on dom0 or in a domain."""
        env = self.env if number is None else {**self.env, "XENSTORED_PATH": str(self.socket_of(number))}
        build = Path(os.environ.get("MW_BUILD", images.TOP / "build"))
        done = subprocess.run([build / "mw", "xen", *map(str, words)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60, check=False)
        return done.returncode, done.stdout

    def _connect(self, name):
        deadline = time.monotonic() + START_S
        while True:
            try:
                return Client(self.directory / name)
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise Refused(f"xenstored: no {name}: {(self.directory / 'log').read_text()}") from None
                time.sleep(0.02)
