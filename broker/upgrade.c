// SPDX-License-Identifier: Apache-2.0
/*
 * upgrade.c - see upgrade.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "broker/insctl.h"
#include "broker/tree.h"
#include "broker/upgrade.h"
#include "lib/clock.h"
#include "lib/fdpass.h"

#define READY_MS 10000 /* to check the state and give up privileges */

static void forget(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void who_is(int by, char *who, size_t bytes)
{
	struct ucred u = { .uid = (uid_t)-1 };
	socklen_t n = sizeof(u);

	getsockopt(by, SOL_SOCKET, SO_PEERCRED, &u, &n);
	snprintf(who, bytes, "uid %u (pid %d)", u.uid, (int)u.pid);
}

/* A line of the audit log, as telemetry writes them; no verdict's. */
static void audit(const struct one_ins *ins, const char *app, const char *result)
{
	char target[32];
	struct timespec t;
	json_t *j;
	char *text;

	snprintf(target, sizeof(target), "ins %u", ins->number);
	clock_gettime(CLOCK_REALTIME, &t);
	j = json_pack("{s:f,s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:s}", "time", (double)t.tv_sec + (double)t.tv_nsec / 1e9, "app", app, "verdict", 0, "event",
		      "upgrade", "what", "upgrade", "target", target, "who", ins->next.who, "why", "", "result", result);
	text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(16)) : NULL;
	if (text && writev(ins->telem.audit, (struct iovec[]){ { text, strlen(text) }, { (void *)(uintptr_t)"\n", 1 } }, 2) < 0)
		fprintf(stderr, "mw: %s: the audit log cannot be written: %s\n", app, strerror(errno));
	free(text);
	json_decref(j);
}

int upgrade_begin(struct one_ins *ins, const struct run_options *o, int by, char *why, size_t why_bytes)
{
	int pair[2], r;

	if (ins->next.child.pid || ins->next.ended) {
		snprintf(why, why_bytes, "it is being upgraded already");
		return -EALREADY;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		snprintf(why, why_bytes, "cannot make a socket: %s", strerror(errno));
		return -errno;
	}
	ins->next = (struct next){ .child.fd = -1, .heir = pair[0], .until_ms = clock_ms() + READY_MS };
	who_is(by, ins->next.who, sizeof(ins->next.who));
	r = spawn_next(ins, o, pair[1], why, why_bytes);
	close(pair[1]);
	if (r < 0) {
		forget(&ins->next.heir);
		ins->next.child.pid = 0;
		return r;
	}
	inss_leave(ins);
	return 0;
}

void upgrade_kill(const struct one_ins *ins)
{
	if (!ins->next.alone && ins->child.pid > 0) /* the last one may have ended meanwhile: -1 would be everybody */
		kill(ins->child.pid, SIGKILL);
	if (ins->next.child.pid)
		kill(ins->next.child.pid, SIGKILL);
}

int upgrade_poll(const struct one_ins *ins)
{
	return ins->next.child.pid ? ins->next.child.fd : -1;
}

int upgrade_wait_ms(const struct one_ins *ins)
{
	return !ins->next.child.pid || ins->next.heir < 0 || ins->next.why[0] ? -1 : clock_until(ins->next.until_ms);
}

static void give_up(struct one_ins *ins, const char *why)
{
	if (!ins->next.child.pid)
		return;
	snprintf(ins->next.why, sizeof(ins->next.why), "%s", why);
	kill(ins->next.child.pid, SIGKILL);
}

void upgrade_due(struct one_ins *ins)
{
	if (upgrade_wait_ms(ins) == 0)
		give_up(ins, "the new program was not ready in 10 s");
}

static void clear(struct next *next)
{
	forget(&next->child.fd);
	forget(&next->heir);
	next->child.pid = next->left = 0;
}

static void is_ready(struct one_ins *ins)
{
	struct broker_msg m = { .kind = BM_UPGRADE };

	inss_send(ins, &m, NULL, 0, &ins->next.heir, 1);
	forget(&ins->next.heir);
}

static void goes_on_as(struct one_ins *ins, pid_t pid, const char *app)
{
	fprintf(stderr, "mw: %s: INS %u is upgraded: process %d goes on as %d, with all its connections\n", app, ins->number,
		(int)ins->child.pid, (int)pid);
	tree_spare(-ins->child.pid);
	ins->child.pid = pid;
	audit(ins, app, "done");
	clear(&ins->next);
	inss_leave(ins);
}

static void has_all(struct one_ins *ins, const char *app)
{
	ins->adopted = ins->next.alone = false; /* this one is our child */
	goes_on_as(ins, ins->next.child.pid, app);
}

void upgrade_serves(struct one_ins *ins, const char *app)
{
	if (ins->next.child.pid)
		upgrade_record(ins, app); /* that it has all was said before */
	else if (ins->next.left && kill(ins->next.left, 0) == 0)
		goes_on_as(ins, ins->next.left, app); /* ... to a broker that is dead */
	if (!ins->next.child.pid)
		insctl_upgraded(ins, NULL);
}

void upgrade_record(struct one_ins *ins, const char *app)
{
	struct broker_msg m;
	ssize_t n = recv(ins->next.child.fd, &m, sizeof(m), MSG_DONTWAIT);

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(m)) {
		forget(&ins->next.child.fd); /* it has ended, or does */
	} else if (m.kind == BM_READY && ins->next.heir >= 0) {
		is_ready(ins);
	} else if (m.kind == BM_UPGRADED && ins->next.heir < 0) {
		has_all(ins, app);
	} else if (m.kind == BM_FAILED) {
		inss_failed(&m);
		snprintf(ins->next.why, sizeof(ins->next.why), "the new program cannot %s%s%s", (char *)m.text, m.status == -EPROTO ? "" : ": ",
			 m.status == -EPROTO ? "" : strerror(-m.status));
	}
}

static void failed(struct one_ins *ins, const char *app)
{
	fprintf(stderr, "mw: %s: INS %u is not upgraded, and goes on as it was: %s\n", app, ins->number, ins->next.why);
	audit(ins, app, ins->next.why);
	insctl_upgraded(ins, ins->next.why);
	ins->next.ended = false;
	inss_leave(ins);
}

void upgrade_stays(struct one_ins *ins, const char *app)
{
	ins->next.stays = true;
	if (ins->next.left)
		clear(&ins->next);
	else if (ins->next.ended)
		failed(ins, app);
	else
		give_up(ins, "the new program did not take all that the running one has");
}

bool upgrade_old_ended(struct one_ins *ins, int status)
{
	ins->next.alone = ins->next.child.pid != 0;
	ins->next.status = status;
	return ins->next.alone || ins->next.left; /* ... which may have all, and say so later; else the INS's connection ends */
}

bool upgrade_next_ended(struct one_ins *ins, int *status, const char *app)
{
	bool asked = ins->next.heir < 0;
	char how[TREE_HOW_BYTES];

	/* what it said last may still be unread */
	if (ins->next.child.fd >= 0)
		upgrade_record(ins, app);
	if (!ins->next.child.pid)
		return false;
	if (!ins->next.why[0])
		snprintf(ins->next.why, sizeof(ins->next.why), "the new program ended (%s)%s", tree_how(*status, how), asked ? " before it had all" : "");
	tree_spare(-ins->next.child.pid);
	clear(&ins->next);
	if (ins->next.alone)
		*status = ins->next.status;
	else if (asked && !ins->next.stays)
		ins->next.ended = true;
	else
		failed(ins, app);
	return !ins->next.alone;
}

struct one_ins *upgrade_of_pid(pid_t pid)
{
	for (size_t i = 0; i < inss_count(); i++)
		if (inss_at(i)->next.child.pid == pid)
			return inss_at(i);
	return NULL;
}
