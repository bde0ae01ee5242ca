# SPDX-License-Identifier: Apache-2.0
"""A real systemd as the first process of a container, on the test's network and the machine's own root directory, with mw installed;
or on another root directory as it is.

Only what a unit asks for is started. /etc, /run and the logs are copies, of another root all is; what is the kernel's and not this network's
cannot be written.
"""
import os
import subprocess
import time
from pathlib import Path

from . import machine, procs
from .mw import command
from .tap import Skip, check, until

GROUPS = Path("/run/groups")
SYSTEMD = "/lib/systemd/systemd"
SCRIPT = """
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /run/inside; mkdir /run/inside/run /run/inside/upper /run/inside/work /run/inside/root
if [ -n "$ROOT" ]; then
    R=/run/inside/root
    mount -t overlay -o "lowerdir=$ROOT,upperdir=/run/inside/upper,workdir=/run/inside/work" overlay $R
    mount --bind /proc $R/proc
    mount --rbind /dev $R/dev
else
    R=
    cp -a /etc /run/inside/etc
    mount --bind /run/inside/etc /etc
    mount -t overlay -o "lowerdir=$INSTALLED:$PREFIX" overlay "$PREFIX"
    mkdir -p /etc/mwcomms
    mount -t tmpfs -o mode=1777 tmpfs /var/tmp
fi
rm -rf $R/etc/systemd/system $R/etc/systemd/network
mkdir -p $R/etc/systemd/system
for unit in $R/lib/systemd/system/*.wants/* systemd-remount-fs.service; do
    case $unit in */systemd-journald-audit*) ;; */systemd-journald*) continue ;; esac
    ln -sf /dev/null $R/etc/systemd/system/${unit##*/}
done
printf '[Unit]\\nRequires=basic.target\\n' >$R/etc/systemd/system/booted.target
printf '[Journal]\\nStorage=volatile\\nAudit=no\\n' >$R/etc/systemd/journald.conf
: >$R/etc/fstab
mount --bind /run/inside/run $R/run
mount --bind /proc/sys $R/proc/sys
mount --bind /proc/sys/net $R/proc/sys/net
mount -o remount,bind,ro $R/proc/sys
mount -t sysfs -o ro sysfs $R/sys
mount -t cgroup2 cgroup2 $R/sys/fs/cgroup
mount --bind /dev/null $R/dev/kmsg
mount --bind /dev/null $R/dev/console
if [ -n "$R" ]; then
    cd $R
    pivot_root . mnt
    umount -l /mnt
fi
exec env -i container=mwtest PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin """ + SYSTEMD + " --unit=booted.target --log-target=journal"


def installed():
    """Where mw is, and where it goes."""
    to = Path("/run/installed")
    if not to.exists():
        machine.run("meson", "install", "-C", str(machine.BUILD), "--no-rebuild", "--quiet", "--destdir", str(to), limit=60)
    prefix = next(to.glob("**/bin/mw")).parent.parent
    return {"INSTALLED": str(prefix), "PREFIX": "/" + str(prefix.relative_to(to))}


class Booted:
    """What its methods name is inside."""

    def __init__(self, case, root=None):
        where = {"ROOT": str(root)} if root else {"ROOT": "", **installed()}
        GROUPS.mkdir(exist_ok=True)
        if not any(GROUPS.iterdir()) and subprocess.run(["mount", "-t", "cgroup2", "cgroup2", GROUPS], check=False, capture_output=True).returncode:
            raise Skip("the kernel lets no cgroup2 be mounted here")
        self.group = GROUPS / f"mw-booted-{os.getpid()}-{time.monotonic_ns()}"
        self.group.mkdir()
        case.callback(self.end)
        Path("/run/inside").mkdir(exist_ok=True)
        self.child = subprocess.Popen(["sh", "-c", 'echo $$ >"$0" && exec unshare --mount --pid --uts --ipc --cgroup --fork --kill-child '
                                       '--mount-proc sh -euc "$1"', self.group / "cgroup.procs", SCRIPT], stdin=subprocess.DEVNULL,
                                      env={**os.environ, **where})
        self.pid = until(10, self.first, "systemd is started")
        until(20, lambda: self.command("systemctl", "is-system-running")[1] == "running\n",
              lambda: f"systemd is up: {self.command('systemctl', 'list-units', '--failed')[1]}", 0.1)

    def first(self):
        check(self.child.poll() is None, "systemd's container is made")
        return next((p.pid for p in procs.below(self.child.pid) if p.comm == "systemd"), None)

    def command(self, *argv, limit=30):
        """(status, stdout, stderr)"""
        return command("nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--", *argv, limit=limit)

    def run(self, *argv, limit=30):
        status, out, err = self.command(*argv, limit=limit)
        check(status == 0, lambda: f"{' '.join(argv)}: status {status}: {out}{err}")
        return out

    def write(self, path, text):
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def path(self, path):
        return Path(f"/proc/{self.pid}/root{path}")

    def show(self, unit, what):
        return self.run("systemctl", "show", "--value", f"--property={what}", unit).strip()

    def start(self, *units):
        status, out, err = self.command("systemctl", "start", *units)
        check(status == 0, lambda: f"systemctl start {' '.join(units)}: {out}{err}{''.join(map(self.journal, units))}")

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def processes(self, unit):
        """Those in its control group, by the test's numbers."""
        group = self.show(unit, "ControlGroup")
        return sorted(int(pid) for procs_file in (self.group / group.lstrip("/")).rglob("cgroup.procs") for pid in procs_file.read_text().split()) if group else []

    def end(self):
        self.child.kill()
        self.child.wait()
        groups = [*sorted(self.group.rglob("*/"), reverse=True), self.group]
        until(5, lambda: not any((g / "cgroup.procs").read_text() for g in groups if g.is_dir()), "all of it ends")
        for g in groups:
            if g.is_dir():
                g.rmdir()
