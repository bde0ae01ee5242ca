// SPDX-License-Identifier: Apache-2.0
/*
 * run.c - `mw run`: two processes that watch each other, so that the death of either leaves nothing behind.
 * Trust: the user's command line.
 *
 * The process that the user started owns the name and the exit status; its child is the broker. When the broker
 * dies, what it started falls to us (we are a subreaper) and is ended here; the kernel takes the rules and
 * namespaces away. When we die, the broker's lifeline breaks and it does the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/tree.h"
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
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-", *c))
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

static void pass_on(const struct signalfd_siginfo *i, pid_t broker)
{
	if (i->ssi_code != SI_KERNEL)
		kill(broker, (int)i->ssi_signo);
}

/* Until the broker ends. Its exit status; -1 when it was killed. */
static int wait_broker(int signals, pid_t broker)
{
	struct signalfd_siginfo i;
	int status;

	for (;;) {
		if (read(signals, &i, sizeof(i)) != sizeof(i))
			continue;
		if (i.ssi_signo != SIGCHLD) {
			pass_on(&i, broker);
			continue;
		}
		while (waitpid(broker, &status, WNOHANG) == broker)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
}

int run(const struct run_options *options)
{
	static struct run_options o;
	char why[256];
	int lifeline[2], lock, signals, status;
	sigset_t all;
	pid_t broker;

	o = *options;
	notify_take();
	if (spawn_paths(why, sizeof(why)) < 0) {
		fprintf(stderr, "mw: %s\n", why);
		return 125;
	}
	spawn_choose_lane(&o);
	lock = claim(&o);
	if (lock < 0)
		return 125;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signals = signalfd(-1, &all, SFD_CLOEXEC);
	if (signals < 0 || pipe2(lifeline, O_CLOEXEC) < 0 || (broker = fork()) < 0) {
		fprintf(stderr, "mw: cannot start: %s\n", strerror(errno));
		registry_drop(o.name);
		return 125;
	}
	if (broker == 0) {
		close(lifeline[1]);
		close(signals);
		status = supervise(&o, lifeline[0], lock);
		registry_drop(o.name);
		_exit(status);
	}
	close(lifeline[0]);
	status = wait_broker(signals, broker);
	if (status < 0) {
		fprintf(stderr, "mw: %s: the broker was killed: ending the application\n", o.name);
		tree_kill(0, STOP_MS);
		registry_drop(o.name);
		status = 125;
	}
	return status;
}
