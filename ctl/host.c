// SPDX-License-Identifier: Apache-2.0
/*
 * host.c - what this machine lacks for running anything protected. Used by doctor.c.
 * Trust: the kernel. Each probe tries the real thing in a child and looks at how it ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/broker.h"
#include "ctl/doctor.h"

#define OWN_FDS 64 /* an INS's that are no sockets */

static int try_in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (pid == 0)
		_exit(fn() < 0 ? errno & 0xff : 0);
	if (waitpid(pid, &status, 0) < 0)
		return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
}

static int net_namespace(void)
{
	return unshare(CLONE_NEWNET);
}

static int user_namespace(void)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS);
}

static int sealed_memory(void)
{
	int fd = memfd_create("mw-doctor", MFD_ALLOW_SEALING);

	return fd < 0 ? -1 : fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
}

static int seccomp_filter(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
}

static int nftables(void)
{
	return socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
}

static void probe(struct report *r, const char *what, int (*fn)(void), bool needed, const char *advice)
{
	int e = try_in_child(fn);

	if (e == 0)
		report_ok(r, "%s", what);
	else if (needed)
		report_problem(r, advice, "%s: %s", what, strerror(e));
	else
		report_note(r, "%s: %s (%s)", what, strerror(e), advice);
}

static void limits(struct report *r)
{
	unsigned long long connections;
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	connections = l.rlim_max > OWN_FDS ? (l.rlim_max - OWN_FDS) / 2 : 0;
	if (l.rlim_max < 4096)
		report_problem(r, "raise it: ulimit -Hn 65536, or LimitNOFILE= in the unit",
			       "descriptors: the hard limit of %llu allows %llu connections", (unsigned long long)l.rlim_max, connections);
	else
		report_ok(r, "descriptors: enough for %llu connections at a time", connections);
}

static void others(struct report *r)
{
	char at[PATH_MAX];

	if (spawn_is_closed(at))
		report_note(r, "programs that processes of other users execute reach nothing: %s is closed to them (make install puts mw where all can read it)",
			    at);
}

void host_check(struct report *r)
{
	char why[512];
	bool root = geteuid() == 0;

	report_head(r, "this machine");
	if (spawn_paths(why, sizeof(why)) < 0)
		report_problem(r, "build and install it: make, make install", "%s", why);
	else
		report_ok(r, "programs: %s, %s, %s", spawn_ins_path(), spawn_names_path(), spawn_shim_path());
	others(r);
	if (root)
		probe(r, "network namespaces", net_namespace, true,
		      "the kernel needs CONFIG_NET_NS, and in a container CAP_SYS_ADMIN (--privileged)");
	else
		probe(r, "user namespaces (needed without root)", user_namespace, true,
		      "sysctl user.max_user_namespaces must be above 0 (and kernel.unprivileged_userns_clone 1); or run as root");
	probe(r, "sealed shared memory", sealed_memory, true, "the kernel needs CONFIG_MEMFD_CREATE");
	probe(r, "seccomp filters", seccomp_filter, true, "the kernel needs CONFIG_SECCOMP_FILTER");
	if (root)
		probe(r, "nftables", nftables, false, "--net isolated cannot publish ports; --net host works");
	else
		report_note(r, "not root: --net isolated is not possible, --net host is");
	limits(r);
}
