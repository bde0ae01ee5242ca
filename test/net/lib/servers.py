# SPDX-License-Identifier: Apache-2.0
"""Debian's servers as the packages configure them, on the test's machine."""
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from . import machine
from .mw import App
from .tap import equal

HOLDER = Path(__file__).with_name("holder.py")
CONF = Path(__file__).resolve().parents[1] / "conf"
ROOT = Path("/var/www/html")
WWW_DATA = 33
PROGRAMS = {"nginx": "nginx", "apache2ctl": "apache2", "redis-server": "redis-server", "redis-cli": "redis-tools",
            "redis-benchmark": "redis-tools", "wrk": "wrk", "ab": "apache2-utils", "curl": "curl",
            "dnsmasq": "dnsmasq-base", "dig": "bind9-dnsutils", "unbound": "unbound", "memcached": "memcached",
            "openssl": "openssl", "slowhttptest": "slowhttptest"}
copied = set()


def need(*programs):
    missing = sorted({PROGRAMS[p] for p in programs if not shutil.which(p)})
    if missing:
        raise RuntimeError(f"not installed: {' '.join(missing)}: run make deps")


def content(name, size):
    """Makes a file of the document root that does not compress or repeat. Returns its SHA-256."""
    data = noise(name, size)
    (ROOT / name).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def noise(seed, size):
    return hashlib.shake_128(seed.encode()).digest(size)


def own(path):
    """A copy of a configuration directory that tests may change."""
    if path not in copied:
        machine.private_copy(path)
        copied.add(path)


def writable_root():
    shutil.rmtree(ROOT / "put", ignore_errors=True)
    os.chown(ROOT, WWW_DATA, WWW_DATA)
    ROOT.chmod(0o755)


def nginx_conf():
    need("nginx")
    Path("/var/log/nginx").mkdir(exist_ok=True)
    writable_root()
    own("/etc/nginx")
    shutil.copy(CONF / "nginx-upload.conf", "/etc/nginx/conf.d/upload.conf")


def nginx(case, *more, options=(), config=None, **keys):
    """Default configuration and an upload site on port 81; or a configuration's text."""
    nginx_conf()
    if config is None:
        return App(case, "nginx", "-g", "daemon off;", *more, options=options, name="nginx", **keys)
    path = Path("/run/nginx-test.conf")
    path.write_text(config)
    return App(case, "nginx", "-c", str(path), "-g", "daemon off;", *more, options=options, name="nginx", **keys)


def apache(case, mpm, *command, **keys):
    """Default configuration with that MPM, and uploads to /put/ by mod_dav."""
    need("apache2ctl")
    own("/etc/apache2")
    enabled, available = Path("/etc/apache2/mods-enabled"), Path("/etc/apache2/mods-available")
    for link in enabled.glob("mpm_*"):
        link.unlink()
    for name in (f"mpm_{mpm}.load", f"mpm_{mpm}.conf", "dav.load", "dav_fs.load", "dav_fs.conf"):
        link = enabled / name
        if not link.is_symlink():
            link.symlink_to(available / name)
    shutil.copy(CONF / "apache-upload.conf", "/etc/apache2/conf-enabled/upload.conf")
    for path in ("/var/log/apache2", "/run/apache2", "/run/lock", "/var/lock/apache2", "/run/apache2/dav"):
        Path(path).mkdir(exist_ok=True, parents=True)
    os.chown("/run/apache2/dav", WWW_DATA, WWW_DATA)
    writable_root()
    put = ROOT / "put"
    put.mkdir()
    os.chown(put, WWW_DATA, WWW_DATA)
    foreground = ("sh", "-c", ". /etc/apache2/envvars; exec apache2 -D FOREGROUND")
    return App(case, *(command or foreground), name=f"apache-{mpm}", **keys)


def redis(case, *more, **keys):
    """Default configuration, in the foreground."""
    need("redis-server", "redis-cli", "redis-benchmark")
    for path in ("/run/redis", "/var/log/redis", "/var/lib/redis"):
        Path(path).mkdir(exist_ok=True)
    Path("/var/lib/redis/dump.rdb").unlink(missing_ok=True)
    keys.setdefault("name", "redis")
    return App(case, "redis-server", "/etc/redis/redis.conf", "--daemonize", "no", "--logfile", "", *more, **keys)


def roomy(server, more=""):
    """nginx's configuration for many thousand connections that say nothing for long, with that server."""
    return f"""
user www-data;
worker_processes 1;
worker_rlimit_nofile 19000;
pid /run/nginx.pid;
error_log /run/nginx-error.log;
events {{ worker_connections 12000; }}
http {{
	access_log off;
	client_header_timeout 600s;
	{more}
	server {{ {server} }}
}}
"""


@contextmanager
def held(count):
    """So many idle connections to port 80, of a process of their own; gives their ports."""
    child = subprocess.Popen([sys.executable, str(HOLDER), "127.0.0.1", "80", str(count)], text=True, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    try:
        ports = [int(word) for word in child.stdout.readline().split()]
        equal(len(ports), count, "connections made")
        yield ports
    finally:
        child.kill()
        child.communicate()
