// SPDX-License-Identifier: Apache-2.0
/*
 * telem.c - see telem.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/ipfix.h"
#include "broker/registry.h"
#include "broker/telem.h"
#include "lib/addr.h"
#include "link/memfd.h"
#include "link/samples.h"

#define METRICS_BACKLOG 128 /* waiting while mw-telem is busy, or started again */

static struct {
	int verbs[2]; /* the INS's end, telemetry's */
	int wake, reader, state, audit;
} t = { { -1, -1 }, -1, -1, -1, -1 };

#define AUDIT_PATH "/var/log/mw-audit.log"

static char name[REGISTRY_NAME_MAX + 1], fast[32], slow[32], ins_pid[32];

struct helper telem = { .what = "telemetry", .lost = "events of the moment, and questions under way" };

int telem_prepare(void)
{
	void *base;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, t.verbs) < 0)
		return -errno;
	t.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t.wake < 0)
		return -errno;
	t.reader = memfd_make_plain("mwcomms-samples", SAMPLES_BYTES, &base);
	if (t.reader < 0)
		return t.reader;
	munmap(base, SAMPLES_BYTES);
	t.state = memfd_make_plain("mwcomms-verdicts", POLICY_BYTES, &base);
	if (t.state < 0)
		return t.state;
	munmap(base, POLICY_BYTES);
	return 0;
}

/* Without one verdicts are carried out all the same; it is said here, and by telemetry at the first. */
static void open_audit(const struct run_options *o)
{
	const char *path = o->audit[0] ? o->audit : AUDIT_PATH;

	if (o->audit[0] || geteuid() == 0)
		t.audit = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	if (t.audit < 0 && (o->audit[0] || geteuid() == 0))
		fprintf(stderr, "mw: %s: cannot open the audit log %s: %s\n", o->name, path, strerror(errno));
	if (t.audit < 0)
		t.audit = open("/dev/null", O_WRONLY | O_CLOEXEC);
}

void telem_ins_fds(int fds[3])
{
	fds[0] = t.verbs[0];
	fds[1] = t.wake;
	fds[2] = t.reader;
}

static int readonly(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void telem_files(int fds[3], int arena, int tele)
{
	fds[0] = readonly(arena);
	fds[1] = readonly(tele);
	fds[2] = readonly(t.reader);
}

/* Its view of the INS's sockets. Without one (a kernel without CONFIG_INET_DIAG) there are no samples. */
static int diag_open(int netns)
{
	return net_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
}

static void start_options(const struct run_options *o, pid_t ins)
{
	snprintf(ins_pid, sizeof(ins_pid), "ins-pid=%d", (int)ins);
	snprintf(fast, sizeof(fast), "sample-fast=%u", o->sample_fast_ms);
	snprintf(slow, sizeof(slow), "sample-slow=%u", o->sample_slow_s);
	telem.argv[0] = "mw-telem";
	telem.argv[1] = name;
	telem.argv[2] = fast;
	telem.argv[3] = slow;
	telem.argv[4] = ins_pid;
}

/* *out is -1 when it was not asked for. */
static int listen_metrics(const struct mw_addr *a, int *out, char *why, size_t why_bytes)
{
	char text[ADDR_TEXT_BYTES];
	struct sockaddr_storage ss;
	socklen_t n = addr_to_sockaddr(a, &ss);
	int on = 1, fd, r;

	*out = -1;
	if (!n)
		return 0;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd >= 0 && ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (fd >= 0 && bind(fd, (struct sockaddr *)&ss, n) == 0 && listen(fd, METRICS_BACKLOG) == 0) {
		*out = fd;
		return 0;
	}
	r = -errno;
	snprintf(why, why_bytes, "cannot listen on %s for metrics: %s", addr_text(a, text), strerror(-r));
	if (fd >= 0)
		close(fd);
	return r;
}

int telem_start(const struct run_options *o, pid_t ins, int netns, int arena, int tele, char *why, size_t why_bytes)
{
	int control = registry_listen(o->name, "control", SOCK_STREAM), metrics, r;

	if (control < 0) {
		snprintf(why, why_bytes, "cannot listen in the runtime directory: %s", strerror(-control));
		return control;
	}
	snprintf(name, sizeof(name), "%s", o->name);
	telem.path = spawn_telem_path();
	start_options(o, ins);
	r = listen_metrics(&o->metrics, &metrics, why, why_bytes);
	if (r < 0)
		return r;
	for (int i = 0; i < HELPER_FDS; i++)
		telem.fds[i] = -1;
	telem.fds[TELEM_DIAG_FD - 4] = diag_open(netns);
	telem.fds[TELEM_HOST_DIAG_FD - 4] = netns < 0 ? -1 : diag_open(-1);
	telem.fds[TELEM_METRICS_FD - 4] = metrics;
	telem.fds[TELEM_CONTROL_FD - 4] = control;
	telem.fds[TELEM_VERBS_FD - 4] = t.verbs[1];
	telem.fds[TELEM_WAKE_FD - 4] = t.wake;
	telem.fds[TELEM_READER_FD - 4] = t.reader;
	telem.fds[TELEM_ARENA_FD - 4] = readonly(arena);
	telem.fds[TELEM_TELE_FD - 4] = readonly(tele);
	open_audit(o);
	telem.fds[TELEM_AUDIT_FD - 4] = t.audit;
	telem.fds[TELEM_STATE_FD - 4] = t.state;
	telem.fd_count = TELEM_FDS;
	r = ipfix_prepare(o, &telem, why, why_bytes);
	if (r == 0)
		r = netflow_prepare(o->name, &o->netflow, &telem, why, why_bytes);
	if (r < 0)
		return r;
	return helper_start(&telem, why, why_bytes);
}
