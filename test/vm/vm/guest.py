# SPDX-License-Identifier: Apache-2.0
"""QEMU, without hardware's help, and a shell in it that is spoken to over its second serial line.

    with Guest(kernel, [image]) as guest:
        status, out = guest.run("uname -r")
        guest.good("insmod /mod/x.ko")          # Failed unless it ends with 0
    guest.console: what the kernel said
"""
import base64
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from lib import tap

from . import EMULATED

tap.patience = EMULATED
INIT = r"""#!/bin/sh
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm; mount -t devpts pts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
ip link set lo up
[ -x /setup ] && /setup
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo 115200
echo READY >&3
# Not by process 1, which gets others' children: busybox's read forgets what it has of a line when a child ends.
( while read -r token limit script <&3; do
	echo "$script" | base64 -d >/tmp/.script
	timeout -s KILL "$limit" sh /tmp/.script >/tmp/.out 2>&1 </dev/null 3>&-
	status=$?
	base64 -w 0 /tmp/.out >&3
	echo " $token $status" >&3
done )
poweroff -f
"""
CPU = "qemu64,+svm,+rdrand"


class Died(Exception):
    """The guest does not answer; the text has the end of what its kernel said."""


class Refused(Exception):
    """A command in the guest did not end with 0."""


class Guest:
    """One virtual machine, from its boot to the end of the with statement."""

    def __init__(self, kernel, images, memory="512M", limit=120, append="", options=()):
        self.kernel, self.images, self.memory, self.limit, self.append, self.options = kernel, images, memory, limit, append, options
        self.tokens, self.line, self.rest = itertools.count(1), None, b""
        self.directory = self.qemu = None

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="mw-vm-"))
        try:
            self.boot()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def boot(self):
        initrd = self.directory / "initrd"
        initrd.write_bytes(b"".join(Path(image).read_bytes() for image in self.images))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.directory / "line"))
        listener.listen(1)
        listener.settimeout(self.limit)
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", CPU, "-smp", "1", "-m", self.memory, "-display", "none", "-nodefaults", "-no-reboot",
                   "-kernel", self.kernel, "-initrd", initrd, "-append", f"console=ttyS0 panic=-1 oops=panic mitigations=off no_timer_check quiet loglevel=5 {self.append}",
                   "-serial", f"file:{self.directory}/console", "-chardev", f"socket,id=line,path={self.directory}/line", "-serial", "chardev:line",
                   *self.options]
        with open(self.directory / "qemu", "wb") as said:
            self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=with_parent)
        with listener:
            self.line = listener.accept()[0]
        self.expect(b"READY\n", self.limit)

    def expect(self, end, seconds):
        """What comes up to `end`."""
        deadline = time.monotonic() + seconds
        while end not in self.rest:
            self.line.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                got = self.line.recv(65536)
            except (TimeoutError, ConnectionError) as e:
                raise Died(f"no answer within {seconds} s: {e}\n{self.tail()}") from e
            if not got:
                raise Died("the machine has stopped\n" + self.tail())
            self.rest += got
        before, _, self.rest = self.rest.partition(end)
        return before

    def run(self, script, limit=30):
        """(status, output) of a shell script. It and all it leaves in the foreground end after `limit` seconds: status 137."""
        token, limit = next(self.tokens), limit * EMULATED
        self.line.sendall(b"%d %d %s\n" % (token, limit, base64.b64encode(script.encode())))
        output = self.expect(b" %d " % token, limit + 30)
        status = self.expect(b"\n", 30)
        return int(status), base64.b64decode(output).decode(errors="replace")

    def good(self, script, limit=30):
        """The output of a shell script that must end with 0."""
        status, out = self.run(script, limit)
        if status:
            raise Refused(f"{script}: status {status}\n{out}\n{self.tail(20)}")
        return out

    @property
    def console(self):
        return (self.directory / "console").read_text(errors="replace") if self.directory else self.said

    def tail(self, lines=60):
        said = (self.directory / "qemu").read_text(errors="replace") if (self.directory / "qemu").exists() else ""
        console = self.console if (self.directory / "console").exists() else ""
        return "\n".join([said.strip(), *console.splitlines()[-lines:]])

    def end(self):
        if self.line:
            self.line.close()
        if self.qemu and self.qemu.poll() is None:
            self.qemu.send_signal(signal.SIGTERM)
            try:
                self.qemu.wait(10)
            except subprocess.TimeoutExpired:
                self.qemu.kill()
                self.qemu.wait()
        self.said = self.console if (self.directory / "console").exists() else ""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory = None


def with_parent():
    """The machine ends with the test, whatever ends that."""
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)


def with_agent(image):
    """busybox, and an /init that does what Guest asks; /setup in the image, if there is one, runs before."""
    image.busybox()
    image.text("/init", INIT, 0o755)
    return image
