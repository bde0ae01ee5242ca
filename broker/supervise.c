// SPDX-License-Identifier: Apache-2.0
/*
 * supervise.c - the broker: starts the INS and the application, and stays until both are gone.
 * Trust: the INS's records are checked by size and kind; whoever may connect to our socket is the user.
 *
 * Never on the data path. It ends with the application; when the INS dies it ends the application, because its
 * connections are gone; when `mw run` dies, the lifeline breaks and it ends everything.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/helper.h"
#include "broker/mirror.h"
#include "broker/owner.h"
#include "broker/telem.h"
#include "broker/tree.h"
#include "lib/addr.h"
#include "lib/fdpass.h"
#include "lib/notify.h"
#include "link/names.h"

#define STOP_MS 1500 /* from SIGTERM to SIGKILL; all must be gone within 2 s of a death */
#define LAST_MS 400 /* for the last records */

static struct {
	const struct run_options *o;
	struct child app, ins;
	struct net *net;
	int signals, ctl, arena, tele, lifeline;
	ino_t netns;      /* of the application's namespace */
	time_t started;
	int status;       /* the command's exit status */
	bool app_ended, done;
} b;

static struct helper names = { .what = "the resolver", .lost = "lookups under way failed" };

/* --- start --- */

static int wait_ready(char *why, size_t why_bytes)
{
	struct broker_msg m;
	int fds[2], count = 2;
	ssize_t n = fdpass_recv(b.ins.fd, &m, sizeof(m), fds, &count, 0);

	if (n == sizeof(m) && m.kind == BM_READY && count == 2) {
		b.arena = fds[0];
		b.tele = fds[1];
		return 0;
	}
	if (n == sizeof(m) && m.kind == BM_FAILED) {
		m.text[sizeof(m.text) - 1] = 0;
		snprintf(why, why_bytes, "the INS could not %s: %s", (char *)m.text, strerror(-m.status));
	} else {
		snprintf(why, why_bytes, "the INS (%.100s) ended before it was ready", spawn_ins_path());
	}
	return -ECHILD;
}

static ino_t netns_inode(pid_t pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static int names_start(int listen, int netns, char *why, size_t why_bytes)
{
	names.path = spawn_names_path();
	names.argv[0] = "mw-names";
	names.argv[1] = netns < 0 ? "host" : "isolated";
	names.fds[NAMES_LISTEN_FD - 4] = listen;
	names.fds[NAMES_NETNS_FD - 4] = netns;
	names.fd_count = 2;
	return helper_start(&names, why, why_bytes);
}

static int start(char *why, size_t why_bytes)
{
	int control[2] = { -1, -1 }, netns = -1, r = spawn_app(&b.app, control, b.o, why, why_bytes);

	b.netns = r == 0 ? netns_inode(b.app.pid) : 0;
	if (r == 0 && (r = telem_prepare()) < 0)
		snprintf(why, why_bytes, "cannot make the telemetry memory: %s", strerror(-r));
	if (r == 0)
		r = spawn_ins(&b.ins, &netns, b.o, control[0], why, why_bytes);
	if (control[0] >= 0)
		close(control[0]);
	mirror_reach(b.o);
	if (r == 0 && b.o->isolated)
		r = net_open(&b.net, b.o->name, netns, why, why_bytes);
	if (r == 0)
		r = spawn_ins_go(&b.ins);
	if (r == 0)
		r = wait_ready(why, why_bytes);
	if (r == 0)
		r = names_start(control[1], b.o->isolated ? netns : -1, why, why_bytes);
	if (r == 0)
		r = telem_start(b.o, b.ins.pid, b.o->isolated ? netns : -1, b.arena, b.tele, why, why_bytes);
	if (netns >= 0 && !b.o->isolated)
		close(netns);
	if (r < 0)
		return r;
	b.ctl = registry_listen(b.o->name, "ctl", SOCK_SEQPACKET);
	if (b.ctl < 0) {
		snprintf(why, why_bytes, "cannot listen in the runtime directory: %s", strerror(-b.ctl));
		return b.ctl;
	}
	r = mirror_start(b.o, why, why_bytes);
	if (r < 0)
		return r;
	r = spawn_app_go(&b.app, b.o->command, why, why_bytes);
	if (r < 0)
		b.status = r == -ENOENT ? 127 : 126;
	return r;
}

/* --- answering mw ps, flows, doctor --- */

static json_t *ports_json(void)
{
	const struct plan_port *list;
	size_t n = publish_list(&list);
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++) {
		char text[80];

		plan_port_text(text, sizeof(text), &list[i]);
		json_array_append_new(a, json_pack("{s:s,s:i,s:i,s:s}", "host", text, "host_port", list[i].host_port, "port",
						   list[i].ins_port, "proto", list[i].proto == IPPROTO_UDP ? "udp" : "tcp"));
	}
	return a;
}

static char *info_text(void)
{
	json_t *command = json_array(), *j;
	char *text, netflow[REGISTRY_PATH_MAX];

	netflow_where(b.o->name, &b.o->netflow, netflow);
	for (char **c = b.o->command; *c; c++)
		json_array_append_new(command, json_string(*c));
	j = json_pack("{s:s,s:i,s:i,s:i,s:I,s:s,s:s,s:I,s:o,s:o}", "name", b.o->name, "pid", (int)getppid(), "ins_pid",
		      (int)b.ins.pid, "app_pid", (int)b.app.pid, "netns", (json_int_t)b.netns, "net", b.o->isolated ? "isolated" : "host", "lane", b.o->lane == LANE_STREAM ? "stream" : "ring",
		      "started", (json_int_t)b.started, "published", ports_json(), "command", command);
	json_object_set_new(j, "host_loopback", json_boolean(b.o->host_loopback));
	json_object_set_new(j, "names_pid", json_integer(names.pid));
	json_object_set_new(j, "telem_pid", json_integer(telem.pid));
	json_object_set_new(j, "netflow", json_string(netflow));
	if (b.net)
		json_object_set_new(j, "address", json_string(net_addrs(b.net)->ins4));
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	return text;
}

/* Whoever connects gets one record: what runs here, and the memory files for reading. */
static void answer_ctl(void)
{
	int fd = accept4(b.ctl, NULL, NULL, SOCK_CLOEXEC), fds[3];
	char *text;

	if (fd < 0)
		return;
	telem_files(fds, b.arena, b.tele);
	text = info_text();
	if (text)
		fdpass_send(fd, text, strlen(text) + 1, fds, 3, MSG_DONTWAIT);
	free(text);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	close(fd);
}

/* --- events --- */

static void ins_record(void)
{
	static uint8_t value[BM_VALUE_MAX];
	struct broker_msg m;
	struct iovec iov[] = { { &m, sizeof(m) }, { value, sizeof(value) } };
	int fds[2] = { -1, -1 }, count = 2;
	ssize_t n = fdpass_recvv(b.ins.fd, iov, 2, fds, &count, MSG_DONTWAIT);

	if (n >= (ssize_t)sizeof(m) && m.kind == BM_OPTION)
		privilege_handle(b.ins.fd, b.netns, &m, value, fds);
	else if (n == sizeof(m) && publish_handle(b.net, b.o, b.ins.fd, &m, fds[0]) < 0)
		fprintf(stderr, "mw: %s: the INS sent a record that makes no sense; ignored\n", b.o->name);
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

/* One that makes no sense is started again. */
static void telem_record(void)
{
	if (telem.pid && !owner_handle(telem.up, b.netns))
		kill(telem.pid, SIGKILL);
}

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void ins_died(int status)
{
	fprintf(stderr, "mw: %s: the INS ended (%s %d): its connections are lost, ending the application\n", b.o->name,
		WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	b.ins.pid = -1;
	b.status = 125;
	b.done = true;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == b.ins.pid) {
			ins_died(status);
			return;
		}
		if (helper_ended(&names, pid, status, b.o->name) || helper_ended(&telem, pid, status, b.o->name) ||
		    mirror_ended(pid, status, b.o->name))
			continue;
		if (pid == b.app.pid) {
			b.app_ended = true;
			b.status = exit_status(status);
			b.done = b.status != 0; /* it failed or was killed: what it leaves is ended */
		}
	}
	/* a command that ended well may have become a daemon: its processes are ours, and protected until they end */
	if (b.app_ended && tree_signal(0, b.ins.pid) == 0)
		b.done = true;
}

/* A signal that a person or a script sent to `mw run`; the terminal's own reach the application directly. */
static void pass_on(const struct signalfd_siginfo *i)
{
	if (i->ssi_code == SI_KERNEL)
		return;
	if (!b.app_ended)
		kill(b.app.pid, (int)i->ssi_signo);
	else
		tree_signal((int)i->ssi_signo, b.ins.pid);
}

static void signal_event(void)
{
	struct signalfd_siginfo i;

	if (read(b.signals, &i, sizeof(i)) != sizeof(i))
		return;
	if (i.ssi_signo == SIGCHLD)
		reap();
	else
		pass_on(&i);
}

static int wait_ms(void)
{
	int first = -1, each[] = { helper_wait_ms(&names), helper_wait_ms(&telem), mirror_wait_ms(), notify_wait_ms() };

	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++)
		if (first < 0 || (each[i] >= 0 && each[i] < first))
			first = each[i];
	return first;
}

static void loop(void)
{
	struct pollfd p[] = { { .fd = b.signals, .events = POLLIN }, { .fd = b.lifeline, .events = POLLIN },
			      { .fd = b.ins.fd, .events = POLLIN }, { .fd = b.ctl, .events = POLLIN },
			      { .events = POLLIN } };

	while (!b.done) {
		p[4].fd = telem.pid ? telem.up : -1;
		if (poll(p, sizeof(p) / sizeof(p[0]), wait_ms()) < 0)
			continue;
		helper_due(&names);
		helper_due(&telem);
		mirror_due();
		notify_alive();
		if (p[1].revents)
			return; /* mw run is gone */
		if (p[2].revents & POLLIN)
			ins_record();
		else if (p[2].revents & POLLHUP)
			p[2].fd = -1;
		if (p[3].revents)
			answer_ctl();
		if (p[4].revents)
			telem_record();
		if (p[0].revents)
			signal_event();
	}
}

/* SIGTERM, a while, SIGKILL. The INS last, so that what the application says at its end still gets out; before it telemetry,
 * which reports how each connection ended. */
static void end_all(void)
{
	struct timespec step = { .tv_nsec = 10000000 };
	int64_t until = tree_clock_ms() + STOP_MS;

	notify_stopping();
	mirror_end();
	tree_signal(SIGTERM, b.ins.pid);
	while (tree_clock_ms() < until && tree_signal(0, b.ins.pid)) {
		nanosleep(&step, NULL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	tree_kill(b.ins.pid, STOP_MS);
	helper_end(&telem, LAST_MS);
	tree_kill(0, STOP_MS);
	net_close(b.net);
}

int supervise(const struct run_options *o, int lifeline, int lock)
{
	char why[512] = "";
	sigset_t all;

	(void)lock; /* held open: the name is ours as long as we live */
	b.o = o;
	b.lifeline = lifeline;
	b.started = time(NULL);
	b.arena = b.tele = b.ctl = -1;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigfillset(&all);
	b.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	b.status = 125;
	if (start(why, sizeof(why)) < 0) {
		fprintf(stderr, "mw: %s\n", why);
		tree_kill(0, STOP_MS);
		net_close(b.net);
		return b.status;
	}
	notify_ready();
	loop();
	end_all();
	return b.status;
}
