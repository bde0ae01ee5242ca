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
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/deposit.h"
#include "broker/inss.h"
#include "broker/ipfix.h"
#include "broker/owner.h"
#include "broker/registry.h"
#include "lib/addr.h"
#include "link/memfd.h"
#include "link/samples.h"

#define METRICS_BACKLOG 128 /* waiting while mw-telem is busy, or started again */

#define AUDIT_PATH "/var/log/mw-audit.log"

static const struct helper telemetry = { .what = "telemetry", .lost = "events of the moment, and questions under way" };

void telem_init(struct telem *t)
{
	t->helper = telemetry;
	t->verbs[0] = t->verbs[1] = t->wake = t->reader = t->state = t->audit = -1;
}

int telem_prepare(struct telem *t)
{
	void *base;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, t->verbs) < 0)
		return -errno;
	t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->wake < 0)
		return -errno;
	t->reader = memfd_make_plain("mwcomms-samples", SAMPLES_BYTES, &base);
	if (t->reader < 0)
		return t->reader;
	munmap(base, SAMPLES_BYTES);
	t->state = memfd_make_plain("mwcomms-verdicts", POLICY_BYTES, &base);
	if (t->state < 0)
		return t->state;
	munmap(base, POLICY_BYTES);
	return 0;
}

void telem_inherit(struct telem *t, const struct telem *from)
{
	off_t at = 0;

	if (sendfile(t->state, from->state, &at, POLICY_BYTES) < 0)
		fprintf(stderr, "mw: a new INS does not know what was ordered before it: %s\n", strerror(errno));
}

/* Without one verdicts are carried out all the same; it is said here, and by telemetry at the first. */
static void open_audit(struct telem *t, const struct run_options *o)
{
	const char *path = o->audit[0] ? o->audit : AUDIT_PATH;

	if (o->audit[0] || geteuid() == 0)
		t->audit = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	if (t->audit < 0 && (o->audit[0] || geteuid() == 0))
		fprintf(stderr, "mw: %s: cannot open the audit log %s: %s\n", o->name, path, strerror(errno));
	if (t->audit < 0)
		t->audit = open("/dev/null", O_WRONLY | O_CLOEXEC);
}

void telem_ins_fds(const struct telem *t, int fds[3])
{
	fds[0] = t->verbs[0];
	fds[1] = t->wake;
	fds[2] = t->reader;
}

/* Again, for reading. A device's view of an INS cannot be opened anew, and is for reading already. */
static int readonly(int fd)
{
	char path[32];

	if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return fcntl(fd, F_DUPFD_CLOEXEC, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void telem_views(const struct one_ins *ins, int fds[3])
{
	fds[0] = readonly(ins->arena);
	fds[1] = readonly(ins->tele);
	fds[2] = readonly(ins->telem.reader);
}

/* Its view of the INS's sockets. Without one (a kernel without CONFIG_INET_DIAG) there are no samples. */
static int diag_open(int netns)
{
	return net_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
}

static void set_paths(struct telem *t, uint32_t ins)
{
	t->helper.path = spawn_telem_path();
	snprintf(t->helper.key, sizeof(t->helper.key), "helper/telem-%u", ins);
}

bool telem_adopt(struct telem *t, uint32_t ins, int verbs)
{
	const int *fds = t->helper.fds;

	t->helper = telemetry;
	set_paths(t, ins);
	if (!helper_adopt(&t->helper))
		return false;
	t->verbs[0] = verbs;
	t->verbs[1] = fds[TELEM_VERBS_FD - 4];
	t->wake = fds[TELEM_WAKE_FD - 4];
	t->reader = fds[TELEM_READER_FD - 4];
	t->audit = fds[TELEM_AUDIT_FD - 4];
	t->state = fds[TELEM_STATE_FD - 4];
	return true;
}

static void start_options(struct telem *t, const struct run_options *o, const struct one_ins *ins)
{
	snprintf(t->name, sizeof(t->name), "%s", o->name);
	snprintf(t->ins, sizeof(t->ins), "ins=%u", ins->number);
	snprintf(t->fast, sizeof(t->fast), "sample-fast=%u", o->sample_fast_ms);
	snprintf(t->slow, sizeof(t->slow), "sample-slow=%u", o->sample_slow_s);
	set_paths(t, ins->number);
	t->helper.argv[0] = "mw-telem";
	t->helper.argv[1] = t->name;
	t->helper.argv[2] = t->fast;
	t->helper.argv[3] = t->slow;
	t->helper.argv[4] = t->ins;
}

/* The first one's have the name alone. */
static const char *file_of(const char *what, uint32_t ins, char text[32])
{
	snprintf(text, 32, ins ? "%s-%u" : "%s", what, ins);
	return text;
}

/* *out is -1 when it was not asked for. */
static int listen_metrics(const struct run_options *o, int *out, char *why, size_t why_bytes)
{
	char text[ADDR_TEXT_BYTES];
	struct sockaddr_storage ss;
	const struct mw_addr *a = &o->metrics;
	socklen_t n = addr_to_sockaddr(a, &ss);
	int on = 1, fd, r;

	*out = -1;
	if (!n)
		return 0;
	fd = o->port_socket ? o->port_socket(ss.ss_family) : socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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

/* The ports that an application has once, whichever of its INSs there are. */
static int metrics_port = -1, netflow_port = -1;

/* Of the first INS: they are opened, and their addresses are in use when they cannot be. */
static int open_ports(const struct run_options *o, char *why, size_t why_bytes)
{
	int r = metrics_port < 0 ? listen_metrics(o, &metrics_port, why, why_bytes) : 0;

	if (r == 0 && netflow_port < 0)
		r = netflow_listen(&o->netflow, o->port_socket, &netflow_port, why, why_bytes);
	if (r == 0)
		deposit_put("ports", "", 0, (int[]){ metrics_port, netflow_port }, 2, NULL);
	return r;
}

static int take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

void telem_ports_adopt(void)
{
	struct deposit *d = deposit_find("ports");

	if (!d)
		return;
	metrics_port = take(&d->fds[0]);
	netflow_port = take(&d->fds[1]);
}

static int copy_of(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

void telem_lead(struct telem *t)
{
	int *fd = &t->helper.fds[TELEM_NETFLOW_TCP_FD - 4];

	if (*fd >= 0 || netflow_port < 0)
		return;
	*fd = copy_of(netflow_port);
	owner_give_netflow(&t->helper, *fd);
	helper_leave(&t->helper);
}

static int start_more(struct one_ins *ins, const struct run_options *o, char *why, size_t why_bytes)
{
	struct telem *t = &ins->telem;
	char file[32];
	int r = ipfix_prepare(o, &t->helper, why, why_bytes);

	if (r == 0)
		r = netflow_prepare(o->name, file_of("netflow", ins->number, file), &o->netflow, &t->helper, why, why_bytes);
	return r < 0 ? r : helper_start(&t->helper, why, why_bytes);
}

int telem_start(struct one_ins *ins, const struct run_options *o, char *why, size_t why_bytes)
{
	struct telem *t = &ins->telem;
	int *fds = t->helper.fds, control, r = open_ports(o, why, why_bytes);
	char file[32];

	if (r < 0)
		return r;
	control = registry_listen(o->name, file_of("control", ins->number, file), SOCK_STREAM);
	if (control < 0) {
		snprintf(why, why_bytes, "cannot listen in the runtime directory: %s", strerror(-control));
		return control;
	}
	start_options(t, o, ins);
	for (int i = 0; i < HELPER_FDS; i++)
		fds[i] = -1;
	if (!o->pvm) /* else the sockets are another machine's */
		fds[TELEM_DIAG_FD - 4] = diag_open(ins->netns);
	fds[TELEM_HOST_DIAG_FD - 4] = ins->netns < 0 ? -1 : diag_open(-1);
	fds[TELEM_METRICS_FD - 4] = copy_of(metrics_port);
	if (!inss_count()) /* the others when it has ended: telem_lead */
		fds[TELEM_NETFLOW_TCP_FD - 4] = copy_of(netflow_port);
	fds[TELEM_CONTROL_FD - 4] = control;
	fds[TELEM_VERBS_FD - 4] = t->verbs[1];
	fds[TELEM_WAKE_FD - 4] = t->wake;
	fds[TELEM_READER_FD - 4] = t->reader;
	fds[TELEM_ARENA_FD - 4] = readonly(ins->arena);
	fds[TELEM_TELE_FD - 4] = readonly(ins->tele);
	open_audit(t, o);
	fds[TELEM_AUDIT_FD - 4] = t->audit;
	fds[TELEM_STATE_FD - 4] = t->state;
	t->helper.fd_count = TELEM_FDS;
	return start_more(ins, o, why, why_bytes);
}

void telem_forget(struct telem *t, const char *app, uint32_t ins)
{
	static const char *const files[] = { "control", "netflow" };
	char path[REGISTRY_PATH_MAX], file[32];

	if (!t->helper.path) { /* it did not come so far that these were the helper's */
		const int fds[] = { t->verbs[0], t->verbs[1], t->wake, t->reader, t->state };

		for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
			if (fds[i] >= 0)
				close(fds[i]);
		return;
	}
	for (int i = 0; i < HELPER_FDS; i++)
		if (t->helper.fds[i] >= 0)
			close(t->helper.fds[i]);
	close(t->verbs[0]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		registry_path(path, app, file_of(files[i], ins, file));
		unlink(path);
	}
}
