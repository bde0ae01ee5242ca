// SPDX-License-Identifier: Apache-2.0
/*
 * depot.c - see depot.h.
 * Trust: as in the header. An adopter is whoever may reach NAME/adopt (the directory is mode 0700) and has our user's number.
 *
 * It has one owner at a time: the broker that lives. When that one's connection ends it waits for the next, and does what a stack
 * without a broker cannot go without: when the application has ended, or the last INS, it ends the rest of the application, closes
 * everything, so that INSs and helpers see their ends and the kernel takes rules and namespaces away, and ends itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/depot.h"
#include "broker/plan.h"

#define STOP_MS   1500 /* from SIGTERM to SIGKILL */
#define LAST_MS   300  /* for telemetry's last records */
#define STEP_MS   10
#define PATIENCE_S 2   /* with an adopter */

static struct lot {
	char key[DEPOT_KEY];
	int fds[DEPOT_FDS];
	uint32_t life;
	int32_t pid, status;
	bool over;
} lots[DEPOT_LOTS];
static size_t count;

static struct {
	int listen, broker, front, deaths, signals, children;
	pid_t broker_pid;
	uid_t owner;
} d = { .broker = -1, .front = -1, .deaths = -1, .children = -1 };

/* --- lots --- */

static void close_all(int fds[DEPOT_FDS])
{
	for (int i = 0; i < DEPOT_FDS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static struct lot *find(const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(lots[i].key, key))
			return &lots[i];
	return NULL;
}

static struct lot *next_of(uint32_t life, size_t *i)
{
	while (*i < count)
		if (lots[(*i)++].life == life)
			return &lots[*i - 1];
	return NULL;
}

static int put(const struct depot_msg *m, int fds[DEPOT_FDS])
{
	struct lot *l = find(m->key);

	if (!l && count == DEPOT_LOTS) {
		close_all(fds);
		return -ENOSPC;
	}
	if (!l)
		l = &lots[count++];
	else
		close_all(l->fds);
	memcpy(l->key, m->key, sizeof(l->key));
	memcpy(l->fds, fds, sizeof(l->fds));
	l->life = m->life;
	l->pid = m->pid;
	l->status = m->status;
	l->over = m->life == DEPOT_APP && m->status >= 0;
	return 0;
}

static void drop(const char *key)
{
	struct lot *l = find(key);

	if (!l)
		return;
	close_all(l->fds);
	*l = lots[--count];
}

/* --- the application's end --- */

static bool is_kept(pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (lots[i].pid == pid && lots[i].life != DEPOT_APP)
			return true;
	return false;
}

/* Our children that are the application's. Returns how many. */
static size_t signal_app(int sig)
{
	char text[65536], *at = text, *end;
	ssize_t n = d.children < 0 ? -1 : pread(d.children, text, sizeof(text) - 1, 0);
	size_t sent = 0;

	text[n > 0 ? n : 0] = 0;
	for (long pid; (pid = strtol(at, &end, 10)) > 0 && end != at; at = end) {
		if (is_kept((pid_t)pid) || pid == d.broker_pid)
			continue;
		sent++;
		if (sig)
			kill((pid_t)pid, sig);
	}
	return sent;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct depot_msg m = { .kind = DEPOT_DIED, .pid = pid, .status = status };
		size_t i = 0;
		struct lot *app = next_of(DEPOT_APP, &i);

		if (app && app->pid == pid) {
			app->over = true;
			app->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
		if (d.deaths >= 0)
			depot_send(d.deaths, &m, NULL, MSG_DONTWAIT);
	}
}

static void pause_step(void)
{
	const struct timespec step = { .tv_nsec = STEP_MS * 1000000 };

	nanosleep(&step, NULL);
	reap();
}

_Noreturn static void end(void)
{
	size_t i = 0;

	close(d.listen); /* nobody adopts what ends */
	for (int ms = 0, sig = SIGTERM; ms < STOP_MS && signal_app(sig); ms += STEP_MS, sig = 0)
		pause_step();
	for (int ms = 0; ms < STOP_MS && signal_app(SIGKILL); ms += STEP_MS)
		pause_step();
	for (struct lot *l; (l = next_of(DEPOT_HELPER, &i));)
		close_all(l->fds);
	for (int ms = 0; ms < LAST_MS; ms += STEP_MS)
		pause_step();
	_exit(0);
}

/* With no broker there: is there anything to go on for? */
static void look_alone(void)
{
	size_t i = 0, alive = 0;
	struct lot *app = next_of(DEPOT_APP, &i), *l;

	for (i = 0; (l = next_of(DEPOT_INS, &i));)
		alive += !l->over;
	if (!app || !alive || (app->over && (app->status || !signal_app(0))))
		end();
}

/* --- who owns it --- */

static void lose_broker(void)
{
	close(d.broker);
	close(d.front);
	if (d.deaths >= 0)
		close(d.deaths);
	d.broker = d.front = d.deaths = -1;
	reap();
	d.broker_pid = 0;
}

/* One record of the broker's. False: there is no broker any more. */
static bool serve(int flags)
{
	int fds[DEPOT_FDS], r;
	struct depot_msg m;

	r = depot_recv(d.broker, &m, fds, flags);
	if (r == -EAGAIN || r == -EINTR || r == -ENOMEM)
		return true;
	if (r == 1 && m.kind == DEPOT_END) {
		for (size_t i = 0; i < count; i++)
			close_all(lots[i].fds);
		_exit(0);
	}
	if (r == 0 || (r < 0 && r != -EMFILE)) {
		lose_broker();
		return false;
	}
	if (r == 1 && m.kind == DEPOT_PUT) {
		r = put(&m, fds);
	} else if (r == 1) {
		drop(m.key);
		close_all(fds);
	}
	m.status = r > 0 ? 0 : r;
	m.kind = DEPOT_DONE;
	depot_send(d.broker, &m, NULL, MSG_DONTWAIT);
	return true;
}

static int give_all(int to)
{
	struct depot_msg m;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		m = (struct depot_msg){ .kind = DEPOT_LOT, .life = lots[i].life, .pid = lots[i].pid, .status = lots[i].status };
		memcpy(m.key, lots[i].key, sizeof(m.key));
		r = depot_send(to, &m, lots[i].fds, 0);
	}
	m = (struct depot_msg){ .kind = DEPOT_ALL, .pid = getpid() };
	return r == 0 ? depot_send(to, &m, NULL, 0) : r;
}

/* It has nothing that anybody would miss: it may be killed at any instruction, and its place is taken. */
static void end_orphan(void)
{
	struct pollfd front = { .fd = d.front, .events = POLLIN };

	if (d.broker < 0 || poll(&front, 1, 0) != 1)
		return;
	kill(d.broker_pid, SIGKILL);
	while (serve(0))
		;
}

/* Takes the descriptors. */
static void take_place(int fd, pid_t pid, int deaths, int front)
{
	struct depot_msg busy = { .kind = DEPOT_BUSY, .pid = d.broker_pid };
	bool asks = deaths >= 0 && front >= 0;

	if (asks)
		end_orphan();
	if (!asks || d.broker >= 0) {
		depot_send(fd, &busy, NULL, MSG_DONTWAIT);
	} else if (give_all(fd) == 0) {
		d.broker = fd;
		d.deaths = deaths;
		d.front = front;
		d.broker_pid = pid;
		return;
	}
	close(fd);
	if (deaths >= 0)
		close(deaths);
	if (front >= 0)
		close(front);
}

static void come(void)
{
	const struct timeval limit = { .tv_sec = PATIENCE_S };
	int fd = accept4(d.listen, NULL, NULL, SOCK_CLOEXEC), fds[DEPOT_FDS];
	struct ucred who = { .uid = (uid_t)-1 };
	socklen_t n = sizeof(who);
	struct depot_msg m;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 || (who.uid != d.owner && who.uid != 0) ||
	    depot_recv(fd, &m, fds, 0) != 1) {
		close(fd);
		return;
	}
	for (int i = 2; i < DEPOT_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	take_place(fd, who.pid, fds[0], fds[1]);
}

/* --- start --- */

#define CALL(name, reason) SCMP_SYS(name)

/* tools/calls.py makes doc/threat-model.md's table of them. */
static const int calls[] = {
	CALL(accept4, "an adopter comes"),
	CALL(clock_nanosleep, "between the looks at who has not ended yet"),
	CALL(close, "what is dropped; all, at the end"),
	CALL(exit_group, "the end"),
	CALL(getpid, "an adopter is told who has answered"),
	CALL(getsockopt, "who the adopter is: SO_PEERCRED"),
	CALL(kill, "the rest of the application, at the end; a broker whose own mw run has died"),
	CALL(poll, "the broker, an adopter, ends"),
	CALL(pread64, "its children, of /proc: who the application's are"),
	CALL(read, "signals, all of which it ignores but SIGCHLD"),
	CALL(recvmsg, "a lot to keep"),
	CALL(restart_syscall, "poll() goes on after a stop"),
	CALL(sendmsg, "all lots, to the heir; answers; who has died"),
	CALL(setsockopt, "patience with an adopter: SO_RCVTIMEO, SO_SNDTIMEO"),
	CALL(wait4, "who has died"),
};

static int filter_calls(void)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = f ? 0 : -ENOMEM;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r;
}

/* Of what root may it keeps ending the application's processes, which may be anybody's. */
static int keep_kill(void)
{
	const cap_value_t one = CAP_KILL;
	cap_t c = cap_init();
	int r = 0;

	if (!c || (geteuid() == 0 && (cap_set_flag(c, CAP_PERMITTED, 1, &one, CAP_SET) < 0 || cap_set_flag(c, CAP_EFFECTIVE, 1, &one, CAP_SET) < 0)))
		r = -ENOMEM;
	if (r == 0 && (cap_set_proc(c) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0))
		r = -errno;
	cap_free(c);
	return r;
}

/* The terminal, or whoever reads our output, shall not wait for us; nothing else that `mw run` was given stays open either. */
static int leave_all(void)
{
	enum { COUNT = 6 };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fds[COUNT] = { null, null, null, d.listen, d.broker, d.front };

	setsid();
	for (int i = 0; i < COUNT; i++) {
		fds[i] = fcntl(fds[i], F_DUPFD, COUNT);
		if (fds[i] < 0)
			return -errno;
	}
	for (int i = 0; i < COUNT; i++)
		if (dup2(fds[i], i) < 0)
			return -errno;
	d.listen = 3;
	d.broker = 4;
	d.front = 5;
	close_range(COUNT, ~0u, 0);
	return chdir("/") < 0 ? -errno : 0;
}

static int prepare(void)
{
	struct rlimit l;
	char path[64];
	sigset_t all;
	int r = leave_all();

	d.owner = geteuid();
	prctl(PR_SET_NAME, "mw-depot");
	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	d.children = open(path, O_RDONLY | O_CLOEXEC);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	d.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r == 0)
		r = d.signals < 0 ? -errno : keep_kill();
	return r < 0 ? r : filter_calls();
}

enum { P_SIGNALS, P_BROKER, P_LISTEN, P_FIXED };

/* Whose end counts while there is no broker that sees to it. */
static size_t fill(struct pollfd *p)
{
	size_t n = P_FIXED;

	p[P_SIGNALS] = (struct pollfd){ .fd = d.signals, .events = POLLIN };
	p[P_BROKER] = (struct pollfd){ .fd = d.broker, .events = POLLIN };
	p[P_LISTEN] = (struct pollfd){ .fd = d.listen, .events = POLLIN };
	for (size_t i = 0; i < count && d.broker < 0 && n < P_FIXED + PLAN_INS_MAX + 1; i++)
		if ((lots[i].life == DEPOT_APP || lots[i].life == DEPOT_INS) && !lots[i].over)
			p[n++] = (struct pollfd){ .fd = lots[i].fds[1], .events = lots[i].life == DEPOT_APP ? POLLIN : 0 };
	return n;
}

/* In the order of fill. */
static void note_ends(const struct pollfd *p, size_t n)
{
	size_t at = P_FIXED;

	for (size_t i = 0; i < count && at < n; i++)
		if ((lots[i].life == DEPOT_APP || lots[i].life == DEPOT_INS) && !lots[i].over)
			lots[i].over = p[at++].revents != 0;
}

static void turn(void)
{
	struct pollfd p[P_FIXED + PLAN_INS_MAX + 1];
	struct signalfd_siginfo i;
	size_t n = fill(p);

	poll(p, n, -1);
	note_ends(p, n);
	while (p[P_SIGNALS].revents && read(d.signals, &i, sizeof(i)) == sizeof(i))
		;
	reap();
	if (p[P_BROKER].revents)
		serve(MSG_DONTWAIT);
	else if (p[P_LISTEN].revents)
		come();
	if (d.broker < 0)
		look_alone();
}

_Noreturn void depot(int listen, int broker, pid_t broker_pid, int front)
{
	d.listen = listen;
	d.broker = broker;
	d.broker_pid = broker_pid;
	d.front = front;
	if (prepare() < 0)
		_exit(1);
	for (;;)
		turn();
}
