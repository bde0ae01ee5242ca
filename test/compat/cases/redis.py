# SPDX-License-Identifier: Apache-2.0
"""Redis: a primary with two replicas and a failover by hand, and a cluster of three."""
import re

TITLE = "Redis"
WORK = "replication to two, partial resync, a new primary; a cluster of three: 3,000 keys, redirection, resharding"
PACKAGES = ["redis-server", "redis-tools"]
PRIMARY, FIRST, SECOND = 6379, 6380, 6381
NODES = (7001, 7002, 7003)
KEYS = 3000


def server(lab, port, *more):
    folder = lab.folder(f"/run/redis/{port}", owner="redis")
    return ["setpriv", "--reuid=redis", "--regid=redis", "--init-groups", "redis-server", "/etc/redis/redis.conf",
            "--port", str(port), "--dir", folder, "--daemonize", "no", "--logfile", "", "--pidfile", f"{folder}/pid",
            *more]


def cli(lab, port, *words, stdin=None):
    return lab.client(["redis-cli", "-p", str(port), *words], stdin=stdin).out


def work(lab):
    lab.private("/etc/redis")
    lab.client(["chown", "-R", "redis", "/etc/redis"])
    replication(lab)
    cluster(lab)


def info(lab, port, *fields):
    lines = dict(line.split(":", 1) for line in cli(lab, port, "INFO").replace("\r", "").splitlines() if ":" in line)
    return [lines.get(field) for field in fields]


def digest(lab, port):
    return cli(lab, port, "DEBUG", "DIGEST")


def same_data(lab):
    """Both replicas hold what the primary holds."""
    want = digest(lab, PRIMARY)
    lab.until(20, lambda: digest(lab, FIRST) == want and digest(lab, SECOND) == want, "the replicas hold the same")
    lab.note("the replicas hold what the primary holds", want)


def replication(lab):
    debug = ("--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0")
    primary = server(lab, PRIMARY, *debug)
    followers = [server(lab, port, *debug, "--replicaof", f"127.0.0.1 {PRIMARY}") for port in (FIRST, SECOND)]
    app = lab.start(primary, beside=followers, name="redis")
    lab.ready(PRIMARY, FIRST, SECOND)
    lab.client(["redis-cli", "-p", str(PRIMARY), "--pipe"],
               stdin="".join(f"SET key{i} {'x' * 1000}{i}\r\n" for i in range(10_000)))
    lab.until(20, lambda: info(lab, PRIMARY, "connected_slaves") == ["2"], "two replicas are connected")
    same_data(lab)
    lab.note("WAIT", cli(lab, PRIMARY, "EVAL", "redis.call('SET', 'counted', '1') return 1", "0") +
             cli(lab, PRIMARY, "WAIT", "0", "1000"))
    replicas = info(lab, PRIMARY, "slave0", "slave1")
    lab.note("where the replicas are", [re.match("ip=[^,]*", line)[0] for line in replicas])
    lab.note("a replica refuses writes", cli(lab, FIRST, "SET", "a", "b"))
    cli(lab, PRIMARY, "CLIENT", "KILL", "TYPE", "replica")
    lab.until(20, lambda: info(lab, PRIMARY, "connected_slaves") == ["2"], "they are connected again")
    lab.note("partial resynchronisations", int(info(lab, PRIMARY, "sync_partial_ok")[0]) >= 2)
    cli(lab, PRIMARY, "SET", "large", lab.noise("large", 50_000).hex())
    same_data(lab)
    lab.note("FAILOVER", cli(lab, PRIMARY, "FAILOVER", "TO", "127.0.0.1", str(FIRST)))
    lab.until(20, lambda: info(lab, FIRST, "role", "connected_slaves") == ["master", "1"],
              "the first replica is the primary")
    lab.note("roles", [info(lab, port, "role") for port in (PRIMARY, FIRST, SECOND)])
    lab.note("it takes writes", cli(lab, FIRST, "SET", "after", "failover"))
    lab.until(20, lambda: cli(lab, PRIMARY, "GET", "after") == "failover\n", "and the old primary follows")
    app.end()
    lab.started.remove(app)


def cluster(lab):
    words = ["--cluster-enabled", "yes", "--save", ""]
    first, *others = [server(lab, port, *words) for port in NODES]
    lab.start(first, beside=others, name="redis-cluster")
    lab.ready(*NODES, *(port + 10_000 for port in NODES))
    nodes = [f"127.0.0.1:{port}" for port in NODES]
    said = lab.client(["redis-cli", "--cluster", "create", *nodes, "--cluster-yes"]).out
    lab.note("create", [line for line in said.splitlines() if line.startswith("[OK]")])
    for port in NODES:
        lab.until(20, lambda port=port: "cluster_state:ok" in cli(lab, port, "CLUSTER", "INFO"),
                  f"{port} sees the cluster")
    lab.note("a key of another", cli(lab, 7001, "SET", "foo", "bar"))
    cli(lab, 7001, "-c", stdin="".join(f"SET k{i} {i}\n" for i in range(KEYS)))
    sizes = [int(cli(lab, port, "DBSIZE")) for port in NODES]
    lab.note("keys on each", sizes)
    lab.note("all of them", sum(sizes))
    got = cli(lab, 7003, "-c", stdin="".join(f"GET k{i}\n" for i in range(KEYS))).splitlines()
    lab.note("read through another node", got == [str(i) for i in range(KEYS)])
    reshard(lab)
    done = lab.client(["redis-benchmark", "--cluster", "-p", "7001", "-q", "-n", "5000", "-c", "20", "-t", "set,get"])
    lab.note("redis-benchmark", done.out.count("requests per second"))
    lab.note("messages on the bus", "cluster_stats_messages_received" in cli(lab, 7002, "CLUSTER", "INFO"))


def reshard(lab):
    ids = {line.split()[1].split("@")[0].split(":")[1]: line.split()[0]
           for line in cli(lab, 7001, "CLUSTER", "NODES").splitlines()}
    lab.client(["redis-cli", "--cluster", "reshard", "127.0.0.1:7001", "--cluster-from", ids["7001"], "--cluster-to",
                ids["7002"], "--cluster-slots", "500", "--cluster-yes"])
    said = lab.client(["redis-cli", "--cluster", "check", "127.0.0.1:7003"]).out
    lab.note("after resharding", [line for line in said.splitlines() if line.startswith("[OK]")])
    lab.note("keys on each, after resharding", [cli(lab, port, "DBSIZE") for port in NODES])
