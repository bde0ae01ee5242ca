// SPDX-License-Identifier: Apache-2.0
/*
 * session.c - see session.h.
 * Trust: the INS below may be compromised: it can have ports bound and options set on its own sockets, which is what it is
 * there for, and it can end. Its records are checked by their length.
 *
 * Three processes: this one, the keeper, the worker. The INS's descriptors are those that a broker gives it (link/broker.h),
 * and this process is that broker, for the little that is to be done where no host is: ports below 1024, options that need a
 * privilege, and a log.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ins/gate.h"
#include "ins/xen/carrier.h"
#include "ins/xen/front.h"
#include "ins/xen/meet.h"
#include "ins/xen/session.h"
#include "lib/addr.h"
#include "lib/clock.h"
#include "lib/fdpass.h"
#include "link/broker.h"
#include "link/memfd.h"
#include "link/telem.h"

#define FIRST_FD INS_BROKER_FD
#define LAST_FD  INS_ROSTER_FD
#define SECOND_MS 1000
#define DESCRIPTORS 65536
#define EXIT_USAGE 2

static int broker = -1;  /* our end */
static struct mw_tele_view tele; /* the INS's, once it serves */
static bool met;         /* in XenStore */
static const char *self = "mw-ins";

/* --- descriptors --- */

/* Two for each connection; who may not have so many serves fewer. */
static void raise_limit(void)
{
	struct rlimit l = { DESCRIPTORS, DESCRIPTORS };

	setrlimit(RLIMIT_NOFILE, &l);
}

/* Those numbers are the INS's own: nothing that is made here may get one. */
static int hold_numbers(void)
{
	for (int fd = 0; fd <= LAST_FD; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) != fd)
			return -EBADF;
	return 0;
}

static int place(int fd, int at)
{
	return fd >= 0 && dup2(fd, at) == at ? 0 : -errno;
}

/* What a broker and telemetry would have given. */
static int give_descriptors(void)
{
	int up[2], verbs[2], r;
	void *page = NULL;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, up) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, verbs) < 0)
		return -errno;
	broker = up[0];
	r = place(up[1], INS_BROKER_FD);
	if (r == 0)
		r = place(verbs[1], INS_VERBS_FD);
	if (r == 0)
		r = place(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), INS_WAKE_FD);
	if (r == 0)
		r = place(memfd_make_plain("reader", MW_PAGE, &page), INS_READER_FD);
	if (r == 0)
		((struct mw_reader *)page)->wanted = 1; /* the other machine may read at any time */
	close(up[1]);
	close(verbs[1]);
	return r;
}

/* --- the INS's broker --- */

/* A port that needs a privilege: the other machine's kernel has looked who asks. */
static int bind_for(int fd, const struct mw_addr *a)
{
	struct sockaddr_storage ss;
	socklen_t n = addr_to_sockaddr(a, &ss);

	return n && bind(fd, (struct sockaddr *)&ss, n) == 0 ? 0 : n ? -errno : -EINVAL;
}

static int option_for(int fd, const struct broker_msg *m, const uint8_t *value, size_t n)
{
	if (m->bytes < 0 || (size_t)m->bytes > n)
		return m->status;
	return setsockopt(fd, m->level, m->name, value, (socklen_t)m->bytes) < 0 ? -errno : 0;
}

static void answer(const struct broker_msg *m, int status)
{
	struct broker_msg a = *m;

	a.status = status;
	if (send(broker, &a, sizeof(a), MSG_NOSIGNAL) < 0)
		fprintf(stderr, "%s: answer to its worker: %m\n", self);
}

static void worker_died(const struct broker_msg *m)
{
	fprintf(stderr, "%s: worker %u died of status 0x%x%s, and another has taken over\n", self, m->slot, (unsigned int)m->status,
		m->gen ? " (it hung)" : "");
}

static void handle(const struct broker_msg *m, const uint8_t *value, size_t n, int fd)
{
	switch (m->kind) {
	case BM_READY:
		if (memfd_map_tele(&tele, fd, false) < 0)
			tele.base = NULL;
		fprintf(stderr, "%s: serves\n", self);
		if (met)
			meet_up();
		break;
	case BM_BIND:
		answer(m, bind_for(fd, &m->addr));
		break;
	case BM_OPTION:
		answer(m, option_for(fd, m, value, n));
		break;
	case BM_FAILED:
		fprintf(stderr, "%s: cannot %.*s: %s\n", self, (int)sizeof(m->text), (const char *)m->text, strerror(-m->status));
		break;
	case BM_WORKER:
		worker_died(m);
		break;
	default:
		break;
	}
}

/* One record. False: the INS has ended. */
static bool take(void)
{
	struct {
		struct broker_msg m;
		uint8_t value[BM_VALUE_MAX];
	} r;
	int fds[2] = { -1, -1 }, count = 2;
	ssize_t n = fdpass_recv(broker, &r, sizeof(r), fds, &count, MSG_DONTWAIT);

	if (n < 0)
		return n == -EAGAIN || n == -EINTR;
	if ((size_t)n >= sizeof(r.m))
		handle(&r.m, r.value, (size_t)n - sizeof(r.m), fds[0]);
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return n > 0;
}

/* Until it ends: its exit status. */
static int attend(pid_t pid)
{
	int64_t next = clock_ms() + SECOND_MS;
	int status;

	for (;;) {
		struct pollfd p[] = { { .fd = broker, .events = POLLIN }, { .fd = met ? meet_fd() : -1, .events = POLLIN } };
		bool second;

		poll(p, 2, SECOND_MS);
		if (p[0].revents && !take())
			break;
		second = clock_ms() >= next;
		if (meet_stop && met)
			meet_closing();
		if (meet_stop || (met && !meet_turn(tele.base ? &tele : NULL, second)))
			kill(pid, SIGKILL); /* and with it its worker; then there is no broker's other end */
		if (second)
			next = clock_ms() + SECOND_MS;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void stop(int sig)
{
	(void)sig;
	meet_stop = true;
}

static void tell_end(int status)
{
	if (met)
		meet_end(status == EXIT_BROKEN ? "the protocol was broken" : NULL);
	if (status == EXIT_GONE)
		fprintf(stderr, "%s: the other machine is gone\n", self);
	else if (status == EXIT_BROKEN)
		fprintf(stderr, "%s: the other machine broke the protocol; nothing of it is served any more\n", self);
}

static int run(struct session *s, int (*serve)(const struct session *s))
{
	pid_t pid, parent = getpid();
	int r = give_descriptors(), status;

	if (r < 0) {
		fprintf(stderr, "%s: make its descriptors: %s\n", self, strerror(-r));
		return 1;
	}
	pid = fork();
	if (pid == 0) {
		close(broker);
		signal(SIGTERM, SIG_DFL);
		signal(SIGINT, SIG_DFL);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(1);
		_exit(serve(s));
	}
	for (int fd = FIRST_FD; fd <= LAST_FD; fd++)
		close(fd);
	status = pid < 0 ? 1 : attend(pid);
	tell_end(status);
	return status;
}

static int by_file(const char *spec, int (*serve)(const struct session *s))
{
	struct session s = { .carrier = &carrier_file };
	int r = file_open(spec);

	if (r == 0)
		r = memory_directory(s.carrier, 0, &s.shape);
	if (r < 0) {
		fprintf(stderr, "%s: %s: %s\n", self, spec, r == -EPROTO ? "no directory that makes sense" : strerror(-r));
		return 1;
	}
	return run(&s, serve);
}

/* file: a test's, in the place of grants. */
static int by_store(const char *file, int (*serve)(const struct session *s))
{
	struct session s = { .carrier = file ? &carrier_file : NULL };

	if ((file && file_open(file) < 0) || meet_begin(&s) < 0)
		return 1;
	met = true;
	return run(&s, serve);
}

/* Words behind the first: where the other machine's memory is, and the gate's rules. False: one is not known, and was named. */
static bool words(int argc, char **argv, const char **file)
{
	for (int i = 2; i < argc; i++) {
		if (!strncmp(argv[i], "file=", 5) && argv[i][5] && !*file)
			*file = argv[i] + 5;
		else if (strncmp(argv[i], "gate=", 5) != 0 || !gate_rule(argv[i] + 5)) {
			fprintf(stderr, "%s: '%s' is not known, or has no value that makes sense; see doc/xen.md\n", self, argv[i]);
			return false;
		}
	}
	return true;
}

int session(int argc, char **argv, int (*serve)(const struct session *s))
{
	bool store = !strcmp(argv[1], "xen");
	const char *file = NULL;

	if (!words(argc, argv, &file))
		return EXIT_USAGE;
	if (!store && !file) {
		fprintf(stderr, "usage: mw-ins door file=PATH [gate=RULE]... | mw-ins xen [gate=RULE]...\n");
		return EXIT_USAGE;
	}
	if (hold_numbers() < 0)
		return 1;
	signal(SIGTERM, stop);
	signal(SIGINT, stop);
	raise_limit();
	return store ? by_store(file, serve) : by_file(file, serve);
}
