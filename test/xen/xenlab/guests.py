# SPDX-License-Identifier: Apache-2.0
"""The lab's guests: a protected machine with Debian's nginx and Apache and no network device, and INS domains as `make ins-image` makes them."""
import base64
import itertools
import os
import queue
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

from vm import EMULATED
from vm.image import Image, protected_machine

from .images import HERE, LIBGCC, STORE, TOP, digest
from .machine import Broken, log

BOOT_S = 240
PVM_CONSOLE = 7101
PVM_MEMORY, INS_MEMORY = 320, 96
APR_DRIVERS = "/usr/lib/x86_64-linux-gnu/apr-util-1"
HEAVY = ("mod_proxy_html.so", "mod_xml2enc.so")    # nobody has them loaded; their libraries are half of the image
SERVERS = ("/usr/sbin/nginx", "/usr/sbin/apache2", "/usr/bin/curl")


def build():
    return Path(os.environ.get("MW_BUILD", TOP / "build")).resolve()


def pvm_base():
    """What changes rarely of the protected machine's initramfs, kept by what it is made of."""
    versions = subprocess.run(["dpkg-query", "-W", "nginx", "nginx-common", "apache2", "apache2-bin", "apache2-data", "curl", "libc6",
                               "busybox-static"], capture_output=True, text=True, check=True).stdout
    path = STORE / ("pvm-" + digest(versions, HERE / "pvm.init", HERE / "guests.py"))
    if not path.exists():
        for old in STORE.glob("pvm-*"):
            old.unlink()
        path.write_bytes(servers().data())
    return path


def servers():
    image = Image()
    image.busybox()
    image.link("/var/run", "../run")
    for program in SERVERS:
        image.program(program)
    for directory in ("/etc/apache2", "/etc/nginx", "/usr/share/apache2/icons"):
        image.files(directory)
    for module in (*Path("/usr/lib/apache2/modules").glob("*.so"), *Path(APR_DRIVERS).glob("apr_dbm*.so")):
        if module.name not in HEAVY:
            image.program(module)
    for loaded in Path("/etc/nginx/modules-enabled").glob("*"):  # of this machine's other packages, not of nginx's own
        image.entries.pop(str(loaded), None)
    image.file("/etc/mime.types")
    image.file("/usr/sbin/apache2ctl")
    image.file(LIBGCC)
    image.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534::/:/bin/false\n")
    image.text("/etc/group", "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\nmwcomms:x:900:www-data\n")
    image.text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    image.text("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
    for directory in ("/var/log/nginx", "/var/log/apache2", "/var/lib/nginx", "/var/cache/apache2", "/var/www/html", "/etc/mwcomms"):
        image.directory(directory)
    image.text("/var/www/html/index.html", "hello from the protected machine\n")
    image.file(HERE / "pvm.init", "/init", 0o755)
    return image


def pvm_fresh():
    """What was built."""
    image = Image(())
    protected_machine(image, build())
    for program in ("vm-semantics", "vm-device", "names_client"):
        image.program(build() / program, f"/usr/local/bin/{program}")
    image.file(TOP / "test/xen/conf/nginx.conf", "/etc/mwcomms/nginx.conf")
    image.modules([build() / "kmod/kmod/mwcomms.ko"])
    return image


def ins_image():
    """As it is made for everybody, and behind it a shell at port 7000."""
    image = Image(())
    image.text("/etc/mwcomms/local", "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexec nc -ll -p 7000 -e /bin/sh\n", 0o755)
    return (build() / "ins-image/initramfs").read_bytes() + image.data()


def lying():
    """Behind ins_image(): test/vm/liar.c in mw-ins's place."""
    image = Image(())
    image.program(build() / "vm-liar", "/usr/bin/mw-ins")
    return image.data()


class Guests:
    """The guests of one machine, and words with them."""

    def __init__(self, machine):
        self.machine = machine

    def write(self, name, data):
        path = self.machine.directory / name
        path.write_bytes(data)
        return path

    def pvm(self, memory=PVM_MEMORY, configuration=""):
        """The protected machine, booted. A Console."""
        m = self.machine
        m.push(pvm_base(), "/run/guest/pvm.base")
        m.push(self.write("pvm.fresh", pvm_fresh().data()), "/run/guest/pvm.fresh")
        m.run("cat /run/guest/pvm.base /run/guest/pvm.fresh >/run/guest/pvm.cpio; rm /run/guest/pvm.base /run/guest/pvm.fresh")
        self.create("pvm", "/run/guest/pvm.cpio", memory, extra="rdinit=/init", configuration=configuration)
        console = Console(m, "pvm", PVM_CONSOLE)
        console.ready()
        return console

    def ins(self, name, address, memory=INS_MEMORY, kind="pv", extra="", bridge="xenbr0", liar=False):
        """An INS domain, created; not yet met by anybody. Its domain id. address: None where `extra` says it. liar: extra's mw.WORD says how it lies."""
        m = self.machine
        if m.shell("[ -e /run/guest/ins.cpio ]")[0]:
            m.push(self.write("ins.cpio", ins_image()), "/run/guest/ins.cpio")
        if liar:
            m.push(self.write("liar.cpio", lying()), "/run/guest/liar.cpio")
            m.run("cat /run/guest/ins.cpio /run/guest/liar.cpio >/run/guest/lying.cpio")
        words = f"ip={address}/24 gw=10.0.0.2 {extra}" if address else extra
        return self.create(name, f"/run/guest/{'lying' if liar else 'ins'}.cpio", memory, kind, words, f"bridge={bridge},script=vif")

    def create(self, name, ramdisk, memory, kind="pv", extra="", vif="", configuration=""):
        text = (f'name="{name}"\ntype="{kind}"\nkernel="/guest/vmlinux"\nramdisk="{ramdisk}"\nmemory={memory}\nvcpus=1\n'
                f'extra="console=hvc0 quiet loglevel=5 nokaslr mitigations=off panic=-1 {extra}"\n'
                f'on_poweroff="destroy"\non_crash="destroy"\non_reboot="destroy"\n' + (f'vif=["{vif}"]\n' if vif else "") + configuration + "\n")
        self.machine.push(self.write(f"{name}.cfg", text.encode()), f"/run/guest/{name}.cfg")
        started = time.monotonic()
        self.machine.run(f"xl create -q /run/guest/{name}.cfg", 240)
        number = int(self.machine.run(f"xl domid {name}"))
        log(f"{name} is domain {number}, created in {time.monotonic() - started:.1f} s")
        return number

    def log_of(self, name):
        """What a guest's kernel and init said on its console."""
        return self.machine.shell(f"cat /run/guest-{name}.log")[1]


class Console:
    """The shell on a guest's console, by way of dom0."""

    def __init__(self, machine, name, port):
        self.machine, self.name = machine, name
        self.number = int(machine.run(f"xl domid {name}"))
        machine.run(f"tty=$(xenstore-read /local/domain/{self.number}/console/tty); "
                    f"netstat -ltn | grep -q ':{port} ' || nc -ll -p {port} -e /bin/sh /run/console.{port} </dev/null >/dev/null 2>&1 & "
                    f"[ ! -e /run/console.{port}.pids ] || kill $(cat /run/console.{port}.pids) 2>/dev/null; "
                    f"echo \"cat $tty & echo \\$! \\$\\$ >/run/console.{port}.pids; exec cat >$tty\" >/run/console.{port}; "
                    f"until netstat -ltn | grep -q ':{port} '; do usleep 10000; done")
        self.tokens, self.lock, self.waiting, self.rest, self.is_ready = itertools.count(1), threading.Lock(), {}, b"", threading.Event()
        self.line = socket.create_connection(("127.0.0.1", machine.port("10.0.0.1", port)), timeout=BOOT_S)
        self.line.settimeout(None)
        machine.callback(self.line.close)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest = b""
        try:
            while got := self.line.recv(1 << 16):
                *lines, rest = (rest + got).split(b"\n")
                for line in lines:
                    self._take(line.decode(errors="replace"))
        except OSError:
            pass

    def _take(self, line):
        if "MW-READY" in line:
            self.is_ready.set()
        elif done := re.search(r"MW-DONE (\d+) (\d+) ?([A-Za-z0-9+/=]*)", line):
            waiting = self.waiting.pop(int(done[1]), None)
            if waiting:
                waiting.put((int(done[2]), base64.b64decode(done[3]).decode(errors="replace")))

    def ready(self):
        """It may have said so before anybody listened: then it answers."""
        deadline = time.monotonic() + BOOT_S
        while not self.is_ready.is_set():
            if time.monotonic() > deadline or not self.machine.run(f"xl domid {self.name} 2>/dev/null || true"):
                raise Broken(f"{self.name} does not come up; it said:\n" + self.machine.shell(f"tail -n 40 /run/guest-{self.name}.log")[1])
            if "MW-READY" in self.machine.shell(f"cat /run/guest-{self.name}.log")[1]:
                self.is_ready.set()
            self.is_ready.wait(0.5)

    def shell(self, script, seconds=60):
        """(exit status, output); 137 when it took longer."""
        token, answer, seconds = next(self.tokens), queue.Queue(), seconds * EMULATED
        self.waiting[token] = answer
        with self.lock:
            self.line.sendall(b"%d %d %s\n" % (token, seconds, base64.b64encode(script.encode())))
        try:
            return answer.get(timeout=seconds + 30)
        except queue.Empty:
            raise Broken(f"{self.name}: no answer to {script!r}; its console:\n"
                         + self.machine.shell(f"tail -n 40 /run/guest-{self.name}.log")[1]) from None

    def run(self, script, seconds=60):
        status, text = self.shell(script, seconds)
        if status:
            raise Broken(f"{self.name}: {script!r} ended with status {status}:\n{text}")
        return text.strip()
