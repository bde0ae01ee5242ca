// SPDX-License-Identifier: Apache-2.0
/*
 * depot_fuzz.c - libFuzzer target: a depot between a broker, adopters and processes that end, who send it any records; and an heir to whom
 * a depot sends any.
 * Trust: none. Each record of the broker's is answered once, an adopter gets every lot and then their end, or hears that there is a
 * broker; what ends the depot is no more than what depot.c says; every descriptor is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/deposit.h"
#include "lib/fdpass.h"
#include "test/fuzz/input.h"

#define BROKER_PID 7

_Noreturn static void left(int status);
static int killed(pid_t pid, int sig);
static pid_t one_died(int *status);
static ssize_t children_text(char *text);

#define _exit(status) left(status)
#define kill(pid, sig) killed(pid, sig)
#define nanosleep(span, rest) (void)(span)
#define poll(p, n, ms) poll(p, n, 0)
#define pread(fd, text, bytes, at) children_text(text)
#define waitpid(pid, status, how) one_died(status)
#include "broker/depot.c"
#undef _exit
#undef kill
#undef pread
#undef waitpid

static jmp_buf gone;
static int broker;          /* the broker's end; -1: it is dead */
static pid_t dead;          /* a child, not waited for yet; 0: none */
static int dead_status;
static bool app_lives;      /* it has a child that is not kept */

/* --- what the depot has beside it --- */

static void left(int status)
{
	must(status == 0);
	longjmp(gone, 1);
}

static int killed(pid_t pid, int sig)
{
	must(pid > 0);
	if (pid == d.broker_pid && broker >= 0) {
		must(sig == SIGKILL);
		close(broker);
		broker = -1;
	}
	if (sig == SIGKILL)
		app_lives = false;
	return 0;
}

static pid_t one_died(int *status)
{
	pid_t pid = dead;

	*status = dead_status;
	dead = 0;
	return pid;
}

static ssize_t children_text(char *text)
{
	return sprintf(text, app_lives ? "3 %d 99 " : "3 %d ", BROKER_PID);
}

/* --- what it is told --- */

/* Of a process that lives, or of one that has ended. */
static int any_fd(uint8_t how)
{
	int pair[2] = { eventfd(0, EFD_CLOEXEC), -1 };

	if (how & 1) {
		close(pair[0]);
		must(pipe2(pair, O_CLOEXEC) == 0);
		close(pair[1]);
	}
	must(pair[0] >= 0);
	return pair[0];
}

static void close_some(const int *fds, int n)
{
	for (int i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* One record with up to three descriptors, and lies in it. */
static void make(struct input *in, struct depot_msg *m, int fds[FDPASS_MAX], int *n)
{
	uint8_t how = next_byte(in);

	*m = (struct depot_msg){ .version = DEPOT_VERSION, .life = how & 3, .pid = 1 + (how >> 2 & 7), .status = (int8_t)next_byte(in) };
	*n = how >> 5 & 3;
	m->mask = (1u << *n) - 1;
	snprintf(m->key, sizeof(m->key), "k%d", next_byte(in) % 16);
	for (int i = 0; i < *n; i++)
		fds[i] = any_fd(next_byte(in));
	for (how = next_byte(in); how & 1; how = next_byte(in))
		next_bytes(in, (uint8_t *)m + next_byte(in) % (sizeof(*m) - 7), 1 + (how >> 1) % 8);
}

/* How many of that kind were told; -1: it was cut off. */
static int told(int at, uint32_t kind, uint32_t *last)
{
	int fds[DEPOT_FDS], r, n = 0;
	struct depot_msg m;

	while ((r = depot_recv(at, &m, fds, MSG_DONTWAIT)) == 1) {
		must(m.version == DEPOT_VERSION && memchr(m.key, 0, sizeof(m.key)));
		close_some(fds, DEPOT_FDS);
		n += m.kind == kind;
		*last = m.kind;
	}
	must(r == 0 || r == -EAGAIN || r == -ECONNRESET);
	return r == -EAGAIN ? n : -1;
}

static void hang_up(void)
{
	if (broker >= 0)
		close(broker);
	broker = -1;
	turn();
}

static void broker_says(struct input *in, uint32_t kind)
{
	uint8_t how = next_byte(in);
	uint32_t last;
	int fds[FDPASS_MAX], n, answers;
	struct depot_msg m;
	size_t bytes = sizeof(m);

	if (broker < 0)
		return;
	make(in, &m, fds, &n);
	m.kind = how & 1 ? kind : how >> 1;
	if ((how & 0xf0) == 0xf0)
		bytes = next_byte(in) % sizeof(m);
	must(fdpass_send(broker, &m, bytes, fds, n, MSG_DONTWAIT) == (ssize_t)bytes);
	close_some(fds, n);
	turn();
	answers = told(broker, DEPOT_DONE, &last);
	must(answers == (bytes == sizeof(m) ? 1 : -1));
	if (answers < 0)
		hang_up();
}

/* What an honest one leaves: without it there is nothing to keep. */
static void broker_leaves_all(void)
{
	for (uint32_t life = DEPOT_APP; life <= DEPOT_INS; life++) {
		struct depot_msg m = { .kind = DEPOT_PUT, .life = life, .pid = (int32_t)life, .status = -1 };
		int fds[DEPOT_FDS];
		uint32_t last;

		for (int i = 0; i < DEPOT_FDS; i++)
			fds[i] = i < 2 ? any_fd(0) : -1;
		snprintf(m.key, sizeof(m.key), "all%u", life);
		must(depot_send(broker, &m, fds, MSG_DONTWAIT) == 0);
		close_some(fds, 2);
		turn();
		must(told(broker, DEPOT_DONE, &last) == 1);
	}
}

static int deaths[2];

static void adopter_comes(struct input *in)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), all[DEPOT_FDS], some[FDPASS_MAX], n, lots_told;
	bool honest = next_byte(in) & 1;
	uint32_t last = 0;
	struct depot_msg m;
	struct sockaddr_un un;
	socklen_t un_bytes = sizeof(un);

	must(fd >= 0 && getsockname(d.listen, (struct sockaddr *)&un, &un_bytes) == 0 && connect(fd, (struct sockaddr *)&un, un_bytes) == 0);
	for (int i = 0; i < DEPOT_FDS; i++)
		all[i] = i == 0 ? fcntl(deaths[1], F_DUPFD_CLOEXEC, 0) : i == 1 ? any_fd(next_byte(in)) : -1;
	make(in, &m, some, &n);
	m.kind = DEPOT_HELLO;
	if (honest)
		must(depot_send(fd, &m, all, MSG_DONTWAIT) == 0);
	else
		must(fdpass_send(fd, &m, sizeof(m) - (next_byte(in) & 1), some, n, MSG_DONTWAIT) > 0);
	close_some(some, n);
	close_some(all, 2);
	turn();
	lots_told = told(fd, DEPOT_LOT, &last);
	if (d.broker < 0 || broker >= 0 || lots_told < 0) {
		must(!honest || last == DEPOT_BUSY);
		close(fd);
		return;
	}
	must((size_t)lots_told == count && last == DEPOT_ALL);
	broker = fd;
}

/* --- an heir, and a depot that lies --- */

static void heir_hears(struct input *in)
{
	int pair[2], at = -1, r, n;
	pid_t pid;
	uint32_t version;

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	for (uint8_t left_over = next_byte(in) % 8; left_over; left_over--) {
		int fds[FDPASS_MAX];
		struct depot_msg m;

		make(in, &m, fds, &n);
		m.kind = left_over > 1 ? DEPOT_LOT : DEPOT_ALL;
		if (n) {
			close(fds[0]);
			fds[0] = memfd_create("lot", MFD_CLOEXEC);
			must(write(fds[0], &m, (m.life & 3) * 20) == (ssize_t)((m.life & 3) * 20));
		}
		must(fdpass_send(pair[1], &m, sizeof(m), fds, n, MSG_DONTWAIT) == sizeof(m));
		close_some(fds, n);
	}
	shutdown(pair[1], SHUT_WR);
	r = deposit_adopt(pair[0], getpid(), &at, &pid, &version);
	must(r <= 0);
	for (size_t i = 0; r == 0;) {
		struct deposit *one = deposit_next("", &i);

		if (!one)
			break;
		must(strlen(one->key) < DEPOT_KEY && ((char *)one->bytes)[one->n] == 0);
	}
	deposit_forget();
	deposit_to(-1);
	close(at);
	close(pair[0]);
	close(pair[1]);
	if (r < 0)
		longjmp(gone, 1); /* mw ends, too */
}

/* --- the target --- */

static void begin(void)
{
	struct sockaddr_un any = { .sun_family = AF_UNIX };
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, deaths) == 0);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	broker = pair[0];
	d.broker = pair[1];
	d.broker_pid = BROKER_PID;
	d.listen = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	must(bind(d.listen, (struct sockaddr *)&any, sizeof(any.sun_family)) == 0 && listen(d.listen, 4) == 0);
	d.front = any_fd(0);
	d.deaths = d.signals = -1;
	d.children = 0; /* is not looked at */
	d.owner = geteuid();
	app_lives = true;
}

static void step(struct input *in)
{
	uint8_t op = next_byte(in);
	uint32_t last;

	switch (op % 8) {
	case 0: broker_says(in, DEPOT_DROP); break;
	case 1: hang_up(); break;
	case 2: adopter_comes(in); break;
	case 3:
		dead = 1 + (op >> 3 & 7);
		dead_status = next_byte(in) << 8;
		turn();
		break;
	case 4: heir_hears(in); break;
	case 5: app_lives = op & 8; break;
	default: broker_says(in, DEPOT_PUT);
	}
	told(deaths[0], DEPOT_DIED, &last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct input in;
	static int first;
	int last;

	in = (struct input){ data, data + n };
	first = dup(STDERR_FILENO);
	close(first);
	begin();
	if (setjmp(gone)) { /* the process is, and all that it had */
		close_range((unsigned)first, ~0u, 0);
		count = 0;
		broker = -1;
		return 0;
	}
	if (next_byte(&in) & 1)
		broker_leaves_all();
	while (in.at < in.end)
		step(&in);
	while (count)
		drop(lots[0].key);
	lose_broker();
	close_some((int[]){ broker, d.listen, deaths[0], deaths[1] }, 4);
	last = dup(STDERR_FILENO);
	close(last);
	must(first == last);
	return 0;
}
