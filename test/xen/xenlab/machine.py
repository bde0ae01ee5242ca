# SPDX-License-Identifier: Apache-2.0
"""A machine with Xen, which QEMU emulates: booted once, kept as a snapshot, and restored from it in a second for each case."""
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from vm import EMULATED

from .images import STORE, digest

BOOT_S = 240  # ten times and more what it takes
QEMU = "qemu-system-x86_64"
# qemu64: others have what Xen 4.17 or a PV dom0 does not survive under emulation. rdrand: xl waits for random numbers.
CPU = "qemu64,+svm,+npt,+rdrand"
MEMORY, DOM0_MEMORY = "2048M", "640M"


class Broken(Exception):
    """The machine does not do what it must; the text says what."""


def log(text):
    print(f"# {time.strftime('%H:%M:%S')} {text}", flush=True)


class Qmp:
    def __init__(self, path, alive):
        self.file = connect_unix(path, alive).makefile("rw")
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while line := self.file.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise Broken(f"QEMU: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise Broken(f"QEMU ended at {command}")

    def monitor(self, line):
        return self("human-monitor-command", **{"command-line": line})


def connect_unix(path, alive):
    deadline = time.monotonic() + 30
    while True:
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(path))
            return connection
        except OSError:
            connection.close()
            if not alive() or time.monotonic() > deadline:
                raise Broken(f"QEMU does not answer at {path}") from None
            time.sleep(0.02)


def arguments(boot, directory):
    return [QEMU, "-accel", "tcg", "-M", "pc", "-cpu", CPU, "-smp", "1", "-m", MEMORY, "-display", "none", "-nodefaults", "-no-reboot",
            "-netdev", "user,id=net,net=10.0.0.0/24,host=10.0.0.2,dns=10.0.0.3", "-device", "e1000,netdev=net,romfile=",
            "-serial", f"file:{directory}/console", "-serial", f"unix:{directory}/ready,server=on,wait=off",
            "-qmp", f"unix:{directory}/qmp,server=on,wait=off", "-kernel", str(boot.xen),
            "-append", f"com1=115200,8n1 console=com1 loglvl=warning guest_loglvl=warning conring_size=1M dom0_mem={DOM0_MEMORY},max:{DOM0_MEMORY} "
            "dom0_max_vcpus=1 spec-ctrl=no bootscrub=no",
            "-initrd", f"{boot.vmlinux} console=hvc0 quiet panic=-1 mitigations=off nokaslr rdinit=/init,{boot.dom0}"]


class FileServer:
    """Gives files of this machine to the lab, by HTTP."""

    def __init__(self):
        files = self.files = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                data = files[self.path].read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, source):
        name = f"/{len(self.files)}"
        self.files[name] = Path(source)
        return name

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Machine(ExitStack):
    """A running machine. On exit QEMU ends, whatever happened; its console's log stays in `directory`."""

    def __init__(self, boot, directory, state=None):
        super().__init__()
        self.directory, self.ports, self.server = Path(directory), {}, None
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        words = arguments(boot, self.directory) + (["-incoming", f"exec:cat {state}"] if state else [])
        self.qemu = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=open(self.directory / "qemu", "wb"))
        self.callback(self._end)
        try:
            self.qmp = Qmp(self.directory / "qmp", self.alive)
            if state:
                self._wait(lambda: self.qmp("query-status")["status"] != "inmigrate", BOOT_S, "restoring the snapshot")
                self.qmp("cont")
        except BaseException:
            self.close()
            raise

    def alive(self):
        return self.qemu.poll() is None

    def cpu(self):
        """Seconds of this machine's processors that QEMU has used: what the lab costs, whatever else runs here."""
        fields = Path(f"/proc/{self.qemu.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def clock(self):
        """For since()."""
        return time.monotonic(), self.cpu(), sum(float(line.split()[-1]) for line in self.run("xl list").splitlines()[1:])

    def since(self, before):
        """Seconds from a clock() until now as they are where nothing else runs: what QEMU had of a processor, and while no domain ran, all."""
        wall, cpu, ran = (now - then for now, then in zip(self.clock(), before))
        return cpu + max(0, wall - ran)

    def undisturbed(self, before):
        """Whether QEMU had a processor for most of the time in which its domains ran, since a clock(). Where it shares one, each second of it does less."""
        _, cpu, ran = (now - then for now, then in zip(self.clock(), before))
        return ran < 1.5 * cpu

    def ready(self):
        """Waits until dom0's init says so."""
        line = connect_unix(self.directory / "ready", self.alive)
        line.settimeout(BOOT_S)
        self.callback(line.close)
        said = b""
        while b"READY" not in said:
            chunk = line.recv(100)
            if not chunk:
                raise Broken("dom0 ended while it booted")
            said += chunk

    def save(self, path):
        self.qmp("stop")
        self.qmp("migrate-set-parameters", **{"max-bandwidth": 10 << 30})
        partial = Path(f"{path}.partial")
        self.qmp("migrate", uri=f"exec:cat > {partial}")
        self._wait(lambda: self.qmp("query-migrate").get("status") in ("completed", "failed"), BOOT_S, "saving the snapshot")
        if self.qmp("query-migrate")["status"] != "completed":
            raise Broken("QEMU could not save its state")
        partial.rename(path)

    def port(self, address, port):
        """The port of this machine's loopback that leads to one in the lab's network."""
        if (address, port) not in self.ports:
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                ours = s.getsockname()[1]
            said = self.qmp.monitor(f"hostfwd_add net tcp:127.0.0.1:{ours}-{address}:{port}")
            if said.strip():
                raise Broken(f"QEMU: hostfwd_add: {said}")
            self.ports[address, port] = ours
        return self.ports[address, port]

    def shell(self, script, seconds=60, address="10.0.0.1"):
        """(exit status, output) of a script of busybox's shell, in dom0 or wherever one listens at port 7000."""
        seconds *= EMULATED
        with socket.create_connection(("127.0.0.1", self.port(address, 7000)), timeout=seconds) as s:
            s.sendall(f"( {script}\n) 2>&1\nr=$?; echo; echo MW-STATUS=$r; exit\n".encode())
            said, deadline = b"", time.monotonic() + seconds
            while chunk := self._receive(s, deadline, script, said):
                said += chunk
        text, found, status = said.decode(errors="replace").rpartition("\nMW-STATUS=")
        if not found:
            raise Broken(f"dom0: no end of {script!r}; it said:\n{said.decode(errors='replace')}")
        return int(status), text

    def _receive(self, s, deadline, script, said):
        s.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            return s.recv(1 << 16)
        except TimeoutError:
            raise Broken(f"no end of {script!r} in time; it said:\n{said.decode(errors='replace')}") from None

    def run(self, script, seconds=60, address="10.0.0.1"):
        """Output of a script that must succeed."""
        status, text = self.shell(script, seconds, address)
        if status:
            raise Broken(f"{script!r} ended with status {status}:\n{text}")
        return text.strip()

    def push(self, source, path, mode=None):
        """A file into dom0."""
        if not self.server:
            self.server = FileServer()
            self.callback(self.server.close)
        url = f"http://10.0.0.2:{self.server.port}{self.server.add(source)}"
        self.run(f"wget -q -O '{path}' {url}" + (f" && chmod {mode:o} '{path}'" if mode else ""))

    def unpack(self, image):
        """An image's files into dom0."""
        path = self.directory / "files.cpio"
        image.write(path)
        self.push(path, "/run/files.cpio")
        self.run("cd / && cpio -idu </run/files.cpio 2>/run/cpio.log || cat /run/cpio.log; rm /run/files.cpio", 120)

    def _wait(self, ready, seconds, what):
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                raise Broken(f"{what}: not within {seconds} s")
            time.sleep(0.02)

    def _end(self):
        if self.alive():
            self.qemu.kill()
        self.qemu.wait()
        self.qemu.stderr and self.qemu.stderr.close()


def snapshot(boot):
    """The state of a machine whose dom0 has come up; made when there is none of these images, this QEMU and this command line."""
    version = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    state = STORE / ("dom0-" + digest(version, *(a for a in arguments(boot, "")))) 
    if state.exists():
        return state
    for old in STORE.glob("dom0-*"):
        old.unlink()
    started = time.monotonic()
    with Machine(boot, STORE / "cold") as machine:
        machine.ready()
        log(f"Xen and dom0 booted in {time.monotonic() - started:.1f} s")
        if re.search("failed", (machine.directory / "console").read_text(errors="replace")):
            raise Broken(f"dom0 complains; see {machine.directory}/console")
        machine.run("xl list")
        machine.save(state)
        log(f"saved, {state.stat().st_size >> 20} MiB, {time.monotonic() - started:.1f} s in all, {machine.cpu():.1f} s of QEMU's")
    return state
