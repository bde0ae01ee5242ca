// SPDX-License-Identifier: Apache-2.0
/*
 * pvm.c - see pvm.h.
 * Trust: as in the header.
 *
 * One for the whole machine: the module is one, and all its sockets are in the same INSs. It follows these as they come and go. Each
 * has what it would have on a host: a telemetry process, with the module's descriptors in the place of memory files and of an
 * eventfd, and a relay in the place of the INS's end of the verbs' socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/entries.h"
#include "broker/info.h"
#include "broker/insctl.h"
#include "broker/owner.h"
#include "broker/pvm.h"
#include "broker/pvm_store.h"
#include "broker/relay.h"
#include "broker/tree.h"
#include "kmod/uapi.h"
#include "lib/notify.h"
#include "link/device.h"

#define SECOND_MS 1000
#define AGAIN_S 5        /* an INS that could not be met */
#define NO_PROCESS ((ino_t)-1) /* of owner.h: whose process a socket is, is the INS's word */

static struct meeting {
	uint64_t serial;
	uint32_t number;
	pid_t relay;
	int verbs, device;   /* the relay's; device: -1: it could not be met */
	time_t tried;
	bool seen;
} list[PLAN_INS_MAX];
static size_t count;

static struct {
	struct run_options *o;
	int device, ctl, signals;
	time_t started;
	bool done;
} p;

/* --- INSs --- */

/* The module's view of one part. A descriptor or -errno. */
static int view_of(uint64_t serial, uint32_t part, int flags)
{
	struct mw_telem_bind b = { .serial = serial, .part = part };
	int fd = open(MW_TELEM_DEVICE, flags | O_CLOEXEC), r;

	if (fd < 0 || ioctl(fd, MW_TELEM_BIND, &b) == 0)
		return fd < 0 ? -errno : fd;
	r = -errno;
	close(fd);
	return r;
}

static int open_views(uint64_t serial, int fds[3], int *device)
{
	int r;

	fds[0] = view_of(serial, MW_TELEM_ARENA, O_RDONLY);
	fds[1] = view_of(serial, MW_TELEM_TELE, O_RDONLY);
	fds[2] = view_of(serial, MW_TELEM_TELE, O_RDONLY | O_NONBLOCK);
	*device = view_of(serial, MW_TELEM_TELE, O_RDWR);
	r = fds[0] < 0 ? fds[0] : fds[1] < 0 ? fds[1] : fds[2] < 0 ? fds[2] : *device < 0 ? *device : 0;
	for (int i = 0; r < 0 && i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (r < 0 && *device >= 0)
		close(*device);
	return r;
}

/* Of one whose device is -1. -ENODEV: it has gone meanwhile. */
static int meet(struct meeting *m)
{
	char why[512] = "";
	int fds[3], device, r = open_views(m->serial, fds, &device);

	m->tried = time(NULL);
	if (r < 0)
		snprintf(why, sizeof(why), "cannot open " MW_TELEM_DEVICE ": %s", strerror(-r));
	else if ((r = inss_meet(p.o, m->number, fds, &m->verbs, why, sizeof(why))) < 0)
		close(device);
	if (r == 0) {
		m->device = device;
		m->relay = relay_start(m->verbs, m->device);
		entries_changed();
		fprintf(stderr, "mw xen: INS %u is followed\n", m->number);
		return 0;
	}
	if (r != -ENODEV)
		fprintf(stderr, "mw xen: INS %u is not followed: %s\n", m->number, why);
	return r;
}

static void part(struct meeting *m)
{
	struct one_ins *ins = inss_find(m->number);

	if (m->device >= 0) {
		if (m->relay > 0)
			kill(m->relay, SIGKILL);
		close(m->device);
		inss_part(ins);
		entries_forget(m->number);
		fprintf(stderr, "mw xen: INS %u is gone\n", m->number);
	}
	*m = list[--count];
}

static struct meeting *meeting_of(uint64_t serial)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].serial == serial)
			return &list[i];
	return NULL;
}

/* Those that are gone first: a domain that has begun anew has the same number. */
static void scan(void)
{
	struct mw_telem_ins t = { 0 }, now[PLAN_INS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		list[i].seen = false;
	while (ioctl(p.device, MW_TELEM_NEXT, &t) == 0) {
		struct meeting *m = meeting_of(t.serial);

		if (m)
			m->seen = true;
		else if (n < PLAN_INS_MAX)
			now[n++] = t;
		if (m && m->device >= 0)
			inss_find(m->number)->state = t.drains ? MW_INS_DRAIN : MW_INS_UP;
	}
	for (size_t i = count; i-- > 0;)
		if (!list[i].seen)
			part(&list[i]);
	for (size_t i = 0; i < n && count < PLAN_INS_MAX; i++) {
		list[count] = (struct meeting){ .serial = now[i].serial, .number = now[i].domain, .device = -1 };
		if (meet(&list[count]) != -ENODEV)
			count++;
	}
}

static void again(void)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].device < 0 && time(NULL) - list[i].tried >= AGAIN_S)
			meet(&list[i]);
}

/* --- what others see --- */

/* Of the INS whose telemetry has the port: who asks there comes through any INS. */
static void tell_address(void)
{
	char lead[PVM_ADDRESS_BYTES] = "";

	for (size_t i = 0; i < inss_count(); i++)
		pvm_store_address(inss_at(i)->number, MW_FAMILY_IP4, inss_at(i)->address);
	if (p.o->netflow.addr.family != MW_FAMILY_NONE && inss_count())
		snprintf(lead, sizeof(lead), "%s", inss_at(0)->address);
	pvm_store_netflow(lead, p.o->netflow.addr.port);
}

static pid_t relay_of(const struct one_ins *ins)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].number == ins->number && list[i].device >= 0)
			return list[i].relay;
	return 0;
}

static void show(void)
{
	static char *const command[] = { (char *)(uintptr_t)"(this machine)", NULL };
	const struct info i = { .o = p.o, .net = "xen", .lane = "door", .front = getpid(), .process_of = relay_of, .started = p.started,
				.command = command };

	info_show(p.ctl, &i);
}

/* --- events --- */

static void ended(pid_t pid, int status)
{
	for (size_t i = 0; i < inss_count(); i++)
		if (helper_ended(&inss_at(i)->telem.helper, pid, status, p.o->name))
			return;
	for (size_t i = 0; i < count; i++) /* its end may be that of the INS, of which we have not heard yet */
		if (list[i].relay == pid && list[i].device >= 0)
			list[i].relay = relay_start(list[i].verbs, list[i].device);
}

static void signal_event(void)
{
	struct signalfd_siginfo i;
	int status;
	pid_t pid;

	if (read(p.signals, &i, sizeof(i)) != sizeof(i))
		return;
	if (i.ssi_signo == SIGTERM || i.ssi_signo == SIGINT || i.ssi_signo == SIGHUP)
		p.done = true;
	if (i.ssi_signo != SIGCHLD)
		return;
	scan(); /* before a relay is started for nothing */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		ended(pid, status);
}

static void telem_record(const struct helper *telem)
{
	if (telem->pid && !owner_handle(telem->up, NO_PROCESS))
		kill(telem->pid, SIGKILL);
}

/* A second, or less when a telemetry process is due. */
static int wait_ms(void)
{
	int ms = SECOND_MS;

	for (size_t i = 0; i < inss_count(); i++) {
		int due = helper_wait_ms(&inss_at(i)->telem.helper);

		if (due >= 0 && due < ms)
			ms = due;
	}
	return ms;
}

enum { P_SIGNALS, P_CTL, P_DEVICE, P_FIXED };

static void turn(void)
{
	struct pollfd polls[P_FIXED + PLAN_INS_MAX + INSCTL_POLLS];
	struct net *none = NULL;
	size_t n = inss_count(), more;

	polls[P_SIGNALS] = (struct pollfd){ .fd = p.signals, .events = POLLIN };
	polls[P_CTL] = (struct pollfd){ .fd = p.ctl, .events = POLLIN };
	polls[P_DEVICE] = (struct pollfd){ .fd = p.device, .events = POLLIN };
	for (size_t i = 0; i < n; i++)
		polls[P_FIXED + i] = (struct pollfd){ .fd = inss_at(i)->telem.helper.pid ? inss_at(i)->telem.helper.up : -1, .events = POLLIN };
	more = insctl_polls(polls + P_FIXED + n);
	if (poll(polls, P_FIXED + n + more, wait_ms()) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (polls[P_FIXED + i].revents & POLLIN)
			telem_record(&inss_at(i)->telem.helper);
	insctl_events(&none, polls + P_FIXED + n, more);
	if (polls[P_CTL].revents)
		show();
	if (polls[P_SIGNALS].revents)
		signal_event();
	if (polls[P_DEVICE].revents)
		scan();
	again();
	for (size_t i = 0; i < inss_count(); i++)
		helper_due(&inss_at(i)->telem.helper);
	tell_address();
	entries_write_due(NULL, insctl_watched());
	notify_alive();
}

/* --- beginning and end --- */

/* A socket of the INSs': this machine has no network. */
static int socket_there(int family)
{
	int fd = device_socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		errno = -fd;
	return fd < 0 ? -1 : fd;
}

static int fail(const char *what, int error)
{
	fprintf(stderr, "mw xen: %s: %s\n", what, strerror(error));
	return 1;
}

static int begin(void)
{
	sigset_t all;
	int r;

	p.device = open(MW_TELEM_DEVICE, O_RDONLY | O_CLOEXEC);
	if (p.device < 0)
		return fail("cannot open " MW_TELEM_DEVICE " (is the module mwcomms loaded, and are you root?)", errno);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	p.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	p.ctl = registry_listen(p.o->name, "ctl", SOCK_SEQPACKET);
	r = p.signals < 0 ? -errno : p.ctl < 0 ? p.ctl : insctl_init(p.o);
	return r < 0 ? fail("cannot listen in the runtime directory", -r) : 0;
}

int pvm_serve(struct run_options *o)
{
	char why[512];
	int lock, r;

	p.o = o;
	p.started = time(NULL);
	o->pvm = true;
	o->port_socket = socket_there;
	if (geteuid() != 0)
		return fail("cannot serve orders", EPERM);
	if (spawn_telem_find(why, sizeof(why)) < 0) {
		fprintf(stderr, "mw xen: %s\n", why);
		return 1;
	}
	notify_take();
	lock = registry_claim(o->name);
	if (lock < 0)
		return fail(lock == -EBUSY ? "it is served already" : "cannot use the runtime directory", -lock);
	r = begin();
	if (r == 0) {
		pvm_store_open();
		scan();
		notify_ready();
		while (!p.done)
			turn();
		notify_stopping();
		o->netflow.addr.family = MW_FAMILY_NONE;
		tell_address();
		while (count)
			part(&list[count - 1]);
	}
	registry_drop(o->name);
	return r;
}
