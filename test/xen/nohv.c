// SPDX-License-Identifier: Apache-2.0
/*
 * nohv.c - preloaded into Debian's xenstored, stands for the hypervisor: domains that are only introduced, each with a ring as a real
 * one's, which a thread here feeds from $XENSTORED_RUNDIR/domN.sock. Permissions and quotas are xenstored's own, as for a real domain.
 *
 * A domain is dead while the file $XENSTORED_RUNDIR/domN.dead is there; the file dom_exc raises the event by which the
 * hypervisor tells that some domain died.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xen/io/xs_wire.h>

#define DOMAINS 64
#define RING XENSTORE_RING_SIZE

struct fake {
	struct xenstore_domain_interface *ring;
	int notified; /* eventfd: xenstored's notifications */
	int port;
	unsigned id;
};

static struct fake fakes[DOMAINS];
static int fake_count, next_port = 1;
static int events[2] = { -1, -1 }; /* pipe of ports with an event, to xenstored */
static int exception_port = -1;
static char handle;

static void raise_event(int port)
{
	uint32_t value = (uint32_t)port;

	if (write(events[1], &value, sizeof(value)) != sizeof(value))
		abort();
}

static void run_path(char *path, size_t room, unsigned id, const char *end)
{
	snprintf(path, room, "%s/dom%u.%s", getenv("XENSTORED_RUNDIR"), id, end);
}

/* What xenstored answered goes to the client. False: the client is gone. */
static int answers(struct fake *f, int client)
{
	uint64_t count;
	int alive = 1;

	if (read(f->notified, &count, sizeof(count)) < 0)
		return 1;
	__sync_synchronize();
	while (f->ring->rsp_cons != f->ring->rsp_prod) {
		char c = f->ring->rsp[MASK_XENSTORE_IDX(f->ring->rsp_cons)];

		alive = alive && send(client, &c, 1, MSG_NOSIGNAL) == 1;
		__sync_synchronize();
		f->ring->rsp_cons++;
	}
	raise_event(f->port);
	return alive;
}

static int requests(struct fake *f, int client, uint32_t space)
{
	char data[RING];
	ssize_t n = read(client, data, space);

	for (ssize_t i = 0; i < n; i++)
		f->ring->req[MASK_XENSTORE_IDX(f->ring->req_prod + (uint32_t)i)] = data[i];
	__sync_synchronize();
	if (n > 0) {
		f->ring->req_prod += (uint32_t)n;
		raise_event(f->port);
	}
	return n > 0;
}

static void serve(struct fake *f, int client)
{
	int alive = 1;

	while (alive) {
		uint32_t space = RING - (f->ring->req_prod - f->ring->req_cons);
		struct pollfd p[2] = { { client, space ? POLLIN : 0, 0 }, { f->notified, POLLIN, 0 } };

		poll(p, 2, -1);
		if (p[1].revents & POLLIN)
			alive = answers(f, client);
		if (alive && p[0].revents)
			alive = space ? requests(f, client, space) : !(p[0].revents & POLLHUP);
	}
}

static void *domain(void *arg)
{
	struct fake *f = arg;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client;

	run_path(at.sun_path, sizeof(at.sun_path), f->id, "sock");
	unlink(at.sun_path);
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listener, 4) < 0)
		abort();
	while ((client = accept(listener, NULL, NULL)) >= 0) {
		serve(f, client);
		close(client);
	}
	return NULL;
}

/* --- what xenstored calls --- */

xc_interface *xc_interface_open(xentoollog_logger *a, xentoollog_logger *b, unsigned flags)
{
	(void)a, (void)b, (void)flags;
	return (xc_interface *)&handle;
}

int xc_interface_close(xc_interface *h)
{
	(void)h;
	return 0;
}

int xc_domain_getinfo(xc_interface *h, uint32_t first, unsigned count, xc_dominfo_t *info)
{
	char path[200];

	(void)h, (void)count;
	memset(info, 0, sizeof(*info));
	info->domid = first;
	run_path(path, sizeof(path), first, "dead");
	info->dying = access(path, F_OK) == 0;
	return 1;
}

xenevtchn_handle *xenevtchn_open(xentoollog_logger *l, unsigned flags)
{
	(void)l, (void)flags;
	if (events[0] < 0 && pipe2(events, O_NONBLOCK | O_CLOEXEC) < 0)
		abort();
	return (xenevtchn_handle *)&handle;
}

xenevtchn_handle *xenevtchn_fdopen(xentoollog_logger *l, int fd, unsigned flags)
{
	(void)fd;
	return xenevtchn_open(l, flags);
}

int xenevtchn_fd(xenevtchn_handle *h)
{
	(void)h;
	return events[0];
}

static void *watch_deaths(void *arg)
{
	char path[200];

	(void)arg;
	snprintf(path, sizeof(path), "%s/dom_exc", getenv("XENSTORED_RUNDIR"));
	for (;; usleep(10000))
		if (unlink(path) == 0)
			raise_event(exception_port);
	return NULL;
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *h, unsigned virq)
{
	pthread_t thread;

	(void)h, (void)virq;
	exception_port = next_port++;
	pthread_create(&thread, NULL, watch_deaths, NULL);
	return exception_port;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *h, uint32_t id, evtchn_port_t remote)
{
	pthread_t thread;

	(void)h, (void)remote;
	for (int i = 0; i < fake_count; i++) {
		if (fakes[i].id != id || fakes[i].port >= 0)
			continue;
		fakes[i].port = next_port++;
		pthread_create(&thread, NULL, domain, &fakes[i]);
		return fakes[i].port;
	}
	return next_port++;
}

int xenevtchn_notify(xenevtchn_handle *h, evtchn_port_t port)
{
	(void)h;
	for (int i = 0; i < fake_count; i++)
		if (fakes[i].port == (int)port)
			eventfd_write(fakes[i].notified, 1);
	return 0;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *h)
{
	uint32_t port;

	(void)h;
	if (read(events[0], &port, sizeof(port)) == sizeof(port))
		return (xenevtchn_port_or_error_t)port;
	errno = EAGAIN;
	return -1;
}

int xenevtchn_unmask(xenevtchn_handle *h, evtchn_port_t port)
{
	(void)h, (void)port;
	return 0;
}

int xenevtchn_unbind(xenevtchn_handle *h, evtchn_port_t port)
{
	(void)h, (void)port;
	return 0;
}

xengnttab_handle *xengnttab_open(xentoollog_logger *l, unsigned flags)
{
	(void)l, (void)flags;
	return (xengnttab_handle *)&handle;
}

int xengnttab_close(xengnttab_handle *h)
{
	(void)h;
	return 0;
}

int xengnttab_set_max_grants(xengnttab_handle *h, uint32_t count)
{
	(void)h, (void)count;
	return 0;
}

void *xengnttab_map_grant_ref(xengnttab_handle *h, uint32_t id, uint32_t ref, int access)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)h, (void)ref, (void)access;
	if (id && fake_count < DOMAINS)
		fakes[fake_count++] = (struct fake){ .ring = page, .id = id, .port = -1, .notified = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	return page;
}

int xengnttab_unmap(xengnttab_handle *h, void *at, uint32_t count)
{
	(void)h, (void)at, (void)count; /* its thread may still look there */
	return 0;
}

/* The two files by which dom0's kernel says where its own ring is. */
static int stand_in(const char *path)
{
	int fd = -1;

	if (!strcmp(path, "/proc/xen/xsd_port")) {
		fd = memfd_create("port", 0);
		if (write(fd, "1", 1) != 1 || lseek(fd, 0, SEEK_SET) < 0)
			abort();
	} else if (!strcmp(path, "/proc/xen/xsd_kva") || !strcmp(path, "/dev/xen/xsd_kva")) {
		fd = memfd_create("ring", 0);
		if (ftruncate(fd, 4096) < 0)
			abort();
	}
	return fd;
}

static int open_by(const char *name, const char *path, int flags, mode_t mode)
{
	int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
	int fd = stand_in(path);

	return fd >= 0 ? fd : real(path, flags, mode);
}

#define OPENER(name)                                                   \
	int name(const char *path, int flags, ...)                     \
	{                                                              \
		va_list ap;                                            \
		mode_t mode;                                           \
                                                                       \
		va_start(ap, flags);                                   \
		mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;       \
		va_end(ap);                                            \
		return open_by(#name, path, flags, mode);              \
	}

OPENER(open)
OPENER(open64)
