// SPDX-License-Identifier: Apache-2.0
/*
 * run.c - `mw run`: three processes, any of which may die.
 * Trust: the user's command line.
 *
 * The process that the user started passes signals on and has the exit status. Its child is the depot (depot.c), whose child is the
 * broker (supervise.c). When the broker is killed, all that it started goes on and falls to the depot, and we end and say so. When we
 * are, the broker goes on. `mw run --adopt` is us again, with a broker that takes over from the depot. When depot and broker are both
 * gone, the kernel has taken rules and namespaces away, INSs and helpers end by themselves, and we end the application.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/depot.h"
#include "broker/heir.h"
#include "broker/tree.h"
#include "lib/name.h"
#include "lib/notify.h"

#define STOP_MS 1500

/* The command's last path component; when that is in use, with -2, -3 and so on. */
static int claim_default(struct run_options *o)
{
	const char *slash = strrchr(o->command[0], '/');
	char base[REGISTRY_NAME_MAX - 4];
	int lock = -EBUSY;

	snprintf(base, sizeof(base), "%s", slash ? slash + 1 : o->command[0]);
	for (char *c = base; *c; c++)
		if (!strchr(NAME_CHARACTERS, *c))
			*c = '_';
	if (base[0] == '.')
		base[0] = '_';
	for (int i = 1; i < 1000 && lock == -EBUSY; i++) {
		if (i == 1)
			snprintf(o->name, sizeof(o->name), "%s", *base ? base : "app");
		else
			snprintf(o->name, sizeof(o->name), "%s-%d", base, i);
		lock = registry_claim(o->name);
	}
	return lock;
}

static int claim(struct run_options *o)
{
	char root[REGISTRY_PATH_MAX];
	int lock = o->name[0] ? registry_claim(o->name) : claim_default(o);

	registry_root(root);
	if (lock == -EBUSY)
		fprintf(stderr, "mw: the name %s is in use; choose another with --name, or see `mw ps`\n", o->name);
	else if (lock < 0)
		fprintf(stderr, "mw: cannot use the runtime directory %s: %s\n", root, strerror(-lock));
	return lock;
}

/* The terminal's own reach the application directly, unless it is another's terminal: `foreign`. */
static void pass_on(const struct signalfd_siginfo *i, int lifeline, bool foreign)
{
	int sig = (int)i->ssi_signo;
	bool keys = sig == SIGINT || sig == SIGQUIT || sig == SIGHUP;

	if (sig != SIGCHLD && (i->ssi_code != SI_KERNEL || (foreign && keys)))
		send(lifeline, &sig, sizeof(sig), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Until the broker ends. Its exit status; -1 when it was killed. */
static int follow(int signals, int lifeline, bool foreign)
{
	struct pollfd p[] = { { .fd = signals, .events = POLLIN }, { .fd = lifeline, .events = POLLIN } };
	struct signalfd_siginfo i;
	int status;

	for (;;) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents && read(signals, &i, sizeof(i)) == sizeof(i))
			pass_on(&i, lifeline, foreign);
		if (p[1].revents)
			return recv(lifeline, &status, sizeof(status), 0) == sizeof(status) ? status : -1;
	}
}

/* Signals as descriptors, and the pair of lifelines. */
static int prepare(int *signals, int lifeline[2])
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	*signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	return *signals < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lifeline) < 0 ? -errno : 0;
}

_Noreturn static void tell(int lifeline, int status)
{
	send(lifeline, &status, sizeof(status), MSG_NOSIGNAL);
	_exit(status);
}

static int cannot_start(const struct run_options *o, int r)
{
	fprintf(stderr, "mw: cannot start: %s\n", strerror(-r));
	registry_drop(o->name);
	return 125;
}

/* The depot and, below it, the broker. */
_Noreturn static void below(struct run_options *o, struct seat *s, int signals, int listen, int front)
{
	pid_t broker;
	int pair[2], status;

	close(signals);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || (broker = fork()) < 0) {
		cannot_start(o, -errno);
		tell(s->lifeline, 125);
	}
	if (broker)
		depot(listen, pair[0], broker, front);
	close(pair[0]);
	close(listen);
	close(front);
	s->depot = pair[1];
	status = supervise(o, s);
	registry_drop(o->name);
	tell(s->lifeline, status);
}

static int broker_killed(const char *name)
{
	if (heir_wanted(name, true)) {
		fprintf(stderr, "mw: %s: the broker was killed: what it ran goes on; take over by: mw run --adopt %s\n", name, name);
	} else {
		fprintf(stderr, "mw: %s: the broker was killed, and the depot: ending the application\n", name);
		tree_kill(0, STOP_MS);
		registry_drop(name);
	}
	return 125;
}

/* The broker has said its last word, but what it and the depot hold is held until they are gone: ports, say. */
static int ended(int status)
{
	tree_kill(0, STOP_MS);
	return status;
}

static void warn_closed(void)
{
	char at[PATH_MAX];

	if (spawn_is_closed(at))
		fprintf(stderr, "mw: %s is closed to other users: programs that their processes execute reach nothing; make install puts mw where all can read it\n",
			at);
}

int run(const struct run_options *options, run_parse *parse)
{
	static struct run_options o;
	struct seat s = { .front = getpid() };
	char why[256];
	int lifeline[2] = { -1, -1 }, signals = -1, status, listen, front, r;
	pid_t depot_pid = 0;

	o = *options;
	notify_take();
	if (spawn_paths(why, sizeof(why)) < 0) {
		fprintf(stderr, "mw: %s\n", why);
		return 125;
	}
	warn_closed();
	spawn_choose_lane(&o);
	s.lock = o.resume ? registry_claim(o.name) : -EBUSY;
	if (o.resume && s.lock == -EBUSY)
		return run_adopt(o.name, parse);
	if (s.lock < 0)
		s.lock = claim(&o);
	if (s.lock < 0)
		return 125;
	listen = r = registry_listen(o.name, "adopt", SOCK_SEQPACKET);
	front = pidfd_open(getpid(), 0);
	if (r >= 0)
		r = front < 0 ? -errno : prepare(&signals, lifeline);
	if (r == 0 && (depot_pid = fork()) < 0)
		r = -errno;
	if (r < 0)
		return cannot_start(&o, r);
	s.lifeline = lifeline[1];
	if (depot_pid == 0) {
		close(lifeline[0]);
		below(&o, &s, signals, listen, front);
	}
	close(listen);
	close(front);
	close(s.lock);
	close(lifeline[1]);
	status = follow(signals, lifeline[0], false);
	return status < 0 ? broker_killed(o.name) : ended(status);
}

_Noreturn static void heir(struct run_options *o, struct seat *s, run_parse *parse)
{
	int status;

	s->depot = registry_connect(o->name, "adopt", SOCK_SEQPACKET);
	if (s->depot < 0) {
		fprintf(stderr, s->depot == -ENOENT ? "mw: nothing runs under the name %s, so there is nothing to adopt\n"
						    : "mw: cannot adopt %s: %s\n", o->name, strerror(-s->depot));
		tell(s->lifeline, 125);
	}
	status = supervise_heir(o, s, parse);
	if (status >= 0)
		registry_drop(o->name);
	tell(s->lifeline, status < 0 ? 125 : status);
}

int run_adopt(const char *name, run_parse *parse)
{
	static struct run_options o;
	struct seat s = { .front = getpid(), .lock = -1 };
	char why[256];
	int lifeline[2] = { -1, -1 }, signals, status;
	pid_t broker;

	notify_take();
	snprintf(o.name, sizeof(o.name), "%s", name);
	if (spawn_paths(why, sizeof(why)) < 0) {
		fprintf(stderr, "mw: %s\n", why);
		return 125;
	}
	if (prepare(&signals, lifeline) < 0 || (broker = fork()) < 0) {
		fprintf(stderr, "mw: cannot start: %s\n", strerror(errno));
		return 125;
	}
	s.lifeline = lifeline[1];
	if (broker == 0) {
		close(lifeline[0]);
		close(signals);
		heir(&o, &s, parse);
	}
	close(lifeline[1]);
	status = follow(signals, lifeline[0], true);
	return status < 0 ? broker_killed(name) : ended(status);
}
