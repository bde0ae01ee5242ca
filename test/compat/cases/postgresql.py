# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL: a new cluster with Debian's settings but for its place; psql, pgbench, COPY, LISTEN, cancellation."""
import socket
import struct

from lab import connect

TITLE = "PostgreSQL"
WORK = "psql by SCRAM and TLS, pgbench with 8 clients, COPY of 10 MB each way, LISTEN, cancel, reload, fast shutdown"
PACKAGES = ["postgresql", "openssl"]
BIN = "/usr/lib/postgresql/15/bin"
DATA = "/run/pg/data"
HBA = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n"
WHO = "select inet_client_addr(), inet_server_addr(), inet_server_port(), client_port > 0 from pg_stat_activity" \
      " where pid = pg_backend_pid()"


def as_postgres(*argv):
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *argv]


def work(lab):
    cert, key, _ = lab.certificate()
    lab.folder("/run/pg", owner="postgres")
    lab.folder("/run/postgresql", owner="postgres")
    lab.client(as_postgres(f"{BIN}/initdb", "-D", DATA, "-A", "scram-sha-256", "--no-sync",
                           "--pwfile", lab.file("/run/pgpass", "secret\n")), cwd="/")
    lab.file("/run/pg/key.pem", open(key, "rb").read(), owner="postgres", mode=0o600)
    lab.file(f"{DATA}/pg_hba.conf", HBA, owner="postgres")
    lab.file(f"{DATA}/postgresql.conf", f"ssl = on\nssl_cert_file = '{cert}'\nssl_key_file = '/run/pg/key.pem'\n"
             "fsync = off\nlisten_addresses = '127.0.0.1, ::1'\n", owner="postgres")
    app = lab.start(as_postgres(f"{BIN}/postgres", "-D", DATA), name="postgres")
    lab.ready(5432)
    lab.until(30, lambda: "ready to accept" in app.said(), "it accepts connections")
    for host in ("127.0.0.1", "::1"):
        lab.note(f"{host}: who", psql(lab, WHO, host))
        lab.note(f"{host}: TLS", psql(lab, "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()", host))
        lab.note(f"{host}: without TLS", psql(lab, "select 6 * 7", host, mode="disable"))
        lab.note(f"{host}: 8 MB", psql(lab, "select repeat('0123456789abcdef', 524288)", host))
    lab.note("a wrong password", lab.client(["psql", uri("127.0.0.1", "wrong"), "-c", "select 1"], status=2).err)
    bench(lab)
    copy(lab)
    conversation(lab)
    cancel(lab)
    reload(lab, app)
    lab.client(["sh", "-c", f"kill -INT $(head -1 {DATA}/postmaster.pid)"])
    app.wait(20)
    lab.note("fast shutdown", (app.wait(1), "database system is shut down" in app.said()))


def uri(host, password="secret", mode="require"):
    place = f"[{host}]" if ":" in host else host
    return f"postgresql://postgres:{password}@{place}:5432/postgres?sslmode={mode}"


def psql(lab, sql, host="127.0.0.1", mode="require", **keys):
    return lab.client(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", uri(host, mode=mode), "-c", sql], **keys).out


def bench(lab):
    words = ["pgbench", "-h", "127.0.0.1", "-U", "postgres"]
    env = {"PGPASSWORD": "secret", "PGSSLMODE": "disable"}
    lab.client([*words, "-i", "-q", "-s", "1", "postgres"], env=env)
    for protocol in ("simple", "prepared"):
        done = lab.client([*words, "-c", "8", "-j", "2", "-t", "100", "-M", protocol, "postgres"], env=env, limit=60)
        lines = [line for line in done.out.splitlines() if line.startswith(("number of trans", "number of failed"))]
        lab.note(f"pgbench {protocol}", lines)
    lab.note("pgbench's sums agree", psql(lab, "select (select sum(abalance) from pgbench_accounts) ="
                                          " (select sum(delta) from pgbench_history), count(*) from pgbench_history"))
    done = lab.client([*words, "-S", "-C", "-c", "4", "-t", "20", "postgres"], env=env)
    lab.note("a connection for each transaction",
             [line for line in done.out.splitlines() if line.startswith("number of trans")])


def copy(lab):
    rows = "".join(f"{i}\t{lab.noise(str(i), 50).hex()}\n" for i in range(100_000))
    psql(lab, "create table copied (i int, t text)")
    for mode in ("require", "disable"):
        words = ["psql", "-XAtq", uri("127.0.0.1", mode=mode), "-c"]
        psql(lab, "truncate copied")
        lab.client([*words, "copy copied from stdin"], stdin=rows)
        done = lab.client([*words, "copy (select * from copied order by i) to stdout"])
        lab.note(f"COPY of 10 MB, {mode}", done.out == rows)


def conversation(lab):
    """One session hears of another, which stays open."""
    script = "listen news;\nselect 'ready';\n\\! psql -XAtq '%s' -c \"notify news, 'heard'\"\nselect 'after';\n"
    done = lab.client(["psql", "-XAtq", uri("127.0.0.1")], stdin=script % uri("::1"))
    lab.note("NOTIFY of another session", [line.split(" from server")[0] for line in done.out.splitlines()])


def cancel(lab):
    """A statement time-out, and a cancel request, which is a connection of its own."""
    words = ["psql", "-XAt", uri("127.0.0.1"), "-c"]
    done = lab.client([*words, "set statement_timeout = 300; select pg_sleep(60)"], status=1)
    lab.note("statement_timeout", done.err)
    done = lab.client(["timeout", "--foreground", "-s", "INT", "1", *words, "select pg_sleep(60)"], status=None)
    lab.note("cancelled", done.err)
    with connect("127.0.0.1", 5432) as s:
        s.sendall(struct.pack(">II", 8, 80877103))
        lab.note("SSLRequest", s.recv(1))
        s.shutdown(socket.SHUT_RDWR)
    with connect("127.0.0.1", 5432) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        lab.note("what is no protocol of its", s.makefile("rb").read())


def reload(lab, app):
    """pg_hba.conf changes while a session stays."""
    lab.file(f"{DATA}/pg_hba.conf", HBA.replace("host all all ::1/128 scram-sha-256", "host all all ::1/128 reject"),
             owner="postgres")
    lab.client(["sh", "-c", f"kill -HUP $(head -1 {DATA}/postmaster.pid)"])
    lab.until(10, lambda: "received SIGHUP" in app.said(), "it was told to reload")
    six = ["psql", uri("::1"), "-c", "select 1"]
    lab.until(10, lambda: lab.client(six, status=None).status == 2, "::1 is rejected")
    lab.note("rejected", lab.client(six, status=2).err)
    lab.note("the other still gets in", psql(lab, "select 1"))
