// SPDX-License-Identifier: Apache-2.0
/*
 * supervise.c - the broker: starts the INSs and the application, and stays until both are gone.
 * Trust: an INS's records are checked by size and kind; whoever may connect to our sockets is the user.
 *
 * Never on the data path. It ends with the application; when the last INS dies it ends the application, because its
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
#include "broker/insctl.h"
#include "broker/inss.h"
#include "broker/owner.h"
#include "broker/share.h"
#include "broker/tree.h"
#include "lib/addr.h"
#include "lib/fdpass.h"
#include "lib/notify.h"
#include "link/names.h"

#define STOP_MS 1500 /* from SIGTERM to SIGKILL; all must be gone within 2 s of a death */
#define LAST_MS 400 /* for the last records */
#define OURS (-1)   /* for tree.h: INSs and helpers, which it spares */

static struct {
	const struct run_options *o;
	struct child app;
	struct net *net;
	int signals, ctl, lifeline;
	ino_t netns;      /* of the application's namespace */
	time_t started;
	int status;       /* the command's exit status */
	bool app_ended, done;
} b;

static struct helper names = { .what = "the resolver", .lost = "lookups under way failed" };

/* --- start --- */

/* The application's namespace, for as long as it lives. */
static void look_at_app(void)
{
	char path[32];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)b.app.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	b.netns = fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
	inss_app(fd);
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

static int start_inss(int control[2], char *why, size_t why_bytes)
{
	int r = inss_init(b.o);

	if (r < 0)
		snprintf(why, why_bytes, "cannot make the roster of INSs: %s", strerror(-r));
	if (r == 0)
		r = inss_start(&b.net, control[0], why, why_bytes);
	if (r == 0)
		r = names_start(control[1], b.o->isolated ? inss_at(0)->netns : -1, why, why_bytes);
	for (uint32_t i = 1; r == 0 && i < b.o->ins_count; i++)
		r = inss_start(&b.net, -1, why, why_bytes);
	return r;
}

static int start(char *why, size_t why_bytes)
{
	int control[2] = { -1, -1 }, r = spawn_app(&b.app, control, b.o, why, why_bytes);

	if (r == 0) {
		look_at_app();
		mirror_reach(b.o);
		r = start_inss(control, why, why_bytes);
	}
	if (r < 0)
		return r;
	r = insctl_init(b.o);
	if (r < 0) {
		snprintf(why, why_bytes, "cannot write to the runtime directory: %s", strerror(-r));
		return r;
	}
	insctl_write(b.net, true);
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

static char *info_text(const struct one_ins *ins)
{
	const struct plan_addrs *a = b.net ? net_addrs(b.net, ins->number) : NULL;
	uint64_t sockets = 0;
	json_t *command = json_array(), *j;
	char *text, netflow[REGISTRY_PATH_MAX];

	netflow_where(b.o->name, &b.o->netflow, netflow);
	for (char **c = b.o->command; *c; c++)
		json_array_append_new(command, json_string(*c));
	j = json_pack("{s:s,s:i,s:i,s:i,s:I,s:s,s:s,s:I,s:o,s:o}", "name", b.o->name, "pid", (int)getppid(), "ins_pid",
		      (int)ins->child.pid, "app_pid", (int)b.app.pid, "netns", (json_int_t)b.netns, "net", b.o->isolated ? "isolated" : "host", "lane", b.o->lane == LANE_STREAM ? "stream" : "ring",
		      "started", (json_int_t)b.started, "published", ports_json(), "command", command);
	json_object_set_new(j, "host_loopback", json_boolean(b.o->host_loopback));
	json_object_set_new(j, "names_pid", json_integer(names.pid));
	json_object_set_new(j, "telem_pid", json_integer(ins->telem.helper.pid));
	json_object_set_new(j, "netflow", json_string(netflow));
	json_object_set_new(j, "ins", json_integer(ins->number));
	for (size_t i = 0; i < inss_count(); i++)
		sockets += mw_load(MW_WORD(&tele_header(&inss_at(i)->view)->sockets));
	json_object_set_new(j, "sockets", json_integer((json_int_t)sockets)); /* on all */
	json_object_set_new(j, "ins_count", json_integer((json_int_t)inss_count()));
	if (a)
		json_object_set_new(j, "address", json_string(a->ins4));
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	return text;
}

/* Whoever connects gets one record for each INS: what runs here, and the memory files for reading. */
static void answer_ctl(void)
{
	int fd = accept4(b.ctl, NULL, NULL, SOCK_CLOEXEC), fds[3];
	char *text;

	for (size_t i = 0; fd >= 0 && i < inss_count(); i++) {
		telem_files(inss_at(i), fds);
		text = info_text(inss_at(i));
		if (text)
			fdpass_send(fd, text, strlen(text) + 1, fds, 3, MSG_DONTWAIT);
		free(text);
		for (int j = 0; j < 3; j++)
			close(fds[j]);
	}
	if (fd >= 0)
		close(fd);
}

/* --- events --- */

static void worker_died(const struct one_ins *ins, const struct broker_msg *m)
{
	char which[32] = "the INS";

	if (inss_count() > 1)
		snprintf(which, sizeof(which), "INS %u", ins->number);
	fprintf(stderr, "mw: %s: %s's worker %s (%s %d) and is replaced: its connections go on\n", b.o->name, which,
		m->gen ? "hung" : "died", WIFSIGNALED(m->status) ? "signal" : "status",
		WIFSIGNALED(m->status) ? WTERMSIG(m->status) : WEXITSTATUS(m->status));
}

static void ins_record(const struct one_ins *ins)
{
	static uint8_t value[BM_VALUE_MAX];
	struct broker_msg m;
	struct iovec iov[] = { { &m, sizeof(m) }, { value, sizeof(value) } };
	int fds[2] = { -1, -1 }, count = 2;
	ssize_t n = fdpass_recvv(ins->child.fd, iov, 2, fds, &count, MSG_DONTWAIT);

	if (n == sizeof(m) && m.kind == BM_WORKER)
		worker_died(ins, &m);
	else if (n >= (ssize_t)sizeof(m) && m.kind == BM_OPTION)
		privilege_handle(ins->child.fd, b.netns, &m, value, fds);
	else if (n >= (ssize_t)sizeof(m) && m.kind == BM_SET)
		share_set(ins->number, &m, value, (uint32_t)((size_t)n - sizeof(m)));
	else if (n == sizeof(m) && publish_handle(b.net, b.o, ins, &m, fds) < 0)
		fprintf(stderr, "mw: %s: the INS sent a record that makes no sense; ignored\n", b.o->name);
	if (n == sizeof(m) && (m.kind == BM_LISTEN || m.kind == BM_BOUND || m.kind == BM_CLOSED))
		insctl_changed();
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

/* One that makes no sense is started again. */
static void telem_record(const struct helper *telem)
{
	if (telem->pid && !owner_handle(telem->up, b.netns))
		kill(telem->pid, SIGKILL);
}

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Its connections are lost; the application goes on as long as there is another. */
static void ins_died(struct one_ins *ins, int status)
{
	bool last = inss_count() == 1;

	fprintf(stderr, last ? "mw: %s: INS %u ended (%s %d): its connections are lost, ending the application\n"
			     : "mw: %s: INS %u ended (%s %d): its connections are lost\n",
		b.o->name, ins->number, WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	insctl_forget(ins->number);
	if (last) {
		ins->child.pid = -1;
		b.status = 125;
		b.done = true;
		return;
	}
	inss_ended(b.net, ins);
	insctl_write(b.net, true);
}

static bool telem_ended(pid_t pid, int status)
{
	for (size_t i = 0; i < inss_count(); i++)
		if (helper_ended(&inss_at(i)->telem.helper, pid, status, b.o->name))
			return true;
	return false;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while (!b.done && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (inss_of_pid(pid)) {
			ins_died(inss_of_pid(pid), status);
			continue;
		}
		if (helper_ended(&names, pid, status, b.o->name) || telem_ended(pid, status) || mirror_ended(pid, status, b.o->name))
			continue;
		if (pid == b.app.pid) {
			b.app_ended = true;
			b.status = exit_status(status);
			b.done = b.status != 0; /* it failed or was killed: what it leaves is ended */
		}
	}
	/* a command that ended well may have become a daemon: its processes are ours, and protected until they end */
	if (b.app_ended && tree_signal(0, OURS) == 0)
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
		tree_signal((int)i->ssi_signo, OURS);
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

static int sooner(int a, int b_ms)
{
	return a < 0 || (b_ms >= 0 && b_ms < a) ? b_ms : a;
}

/* Rules that nftables refused, once a second. */
static int rules_wait_ms(void)
{
	return b.net && net_is_behind(b.net) ? 1000 : -1;
}

static int wait_ms(void)
{
	int ms = sooner(sooner(insctl_wait_ms(), notify_wait_ms()), sooner(helper_wait_ms(&names), rules_wait_ms()));

	for (size_t i = 0; i < inss_count(); i++)
		ms = sooner(ms, helper_wait_ms(&inss_at(i)->telem.helper));
	return ms;
}

static void helpers_due(void)
{
	helper_due(&names);
	for (size_t i = 0; i < inss_count(); i++)
		helper_due(&inss_at(i)->telem.helper);
}

/* Once a second. */
static void rules_due(void)
{
	static int64_t last_ms;
	int64_t now = tree_clock_ms();

	if (rules_wait_ms() < 0 || now - last_ms < 1000)
		return;
	last_ms = now;
	if (net_catch_up(b.net))
		fprintf(stderr, "mw: %s: nftables takes rules again: they are as they should be\n", b.o->name);
}

enum { P_SIGNALS, P_LIFELINE, P_CTL, P_FIXED };

/* Of each INS its records and its telemetry's, behind the fixed ones; what connects to ins-ctl last. */
static size_t fill(struct pollfd *p)
{
	size_t n = P_FIXED;

	p[P_SIGNALS] = (struct pollfd){ .fd = b.signals, .events = POLLIN };
	p[P_LIFELINE] = (struct pollfd){ .fd = b.lifeline, .events = POLLIN };
	p[P_CTL] = (struct pollfd){ .fd = b.ctl, .events = POLLIN };
	for (size_t i = 0; i < inss_count(); i++) {
		const struct one_ins *ins = inss_at(i);

		p[n++] = (struct pollfd){ .fd = ins->child.fd, .events = POLLIN };
		p[n++] = (struct pollfd){ .fd = ins->telem.helper.pid ? ins->telem.helper.up : -1, .events = POLLIN };
	}
	return n;
}

static void ins_events(struct one_ins *ins, const struct pollfd *p)
{
	if (p[0].revents & POLLIN) {
		ins_record(ins);
	} else if (p[0].revents & POLLHUP) { /* it has ended; SIGCHLD says so */
		close(ins->child.fd);
		ins->child.fd = -1;
	}
	if (p[1].revents)
		telem_record(&ins->telem.helper);
}

static void loop(void)
{
	struct pollfd p[P_FIXED + 2 * PLAN_INS_MAX + INSCTL_POLLS];

	while (!b.done) {
		size_t n = fill(p), count = inss_count(), more = insctl_polls(p + n);

		if (poll(p, n + more, wait_ms()) < 0)
			continue;
		helpers_due();
		mirror_due();
		rules_due();
		notify_alive();
		if (p[P_LIFELINE].revents)
			return; /* mw run is gone */
		for (size_t i = 0; i < count; i++)
			ins_events(inss_at(i), p + P_FIXED + 2 * i);
		if (p[P_CTL].revents)
			answer_ctl();
		insctl_events(&b.net, p + n, more);
		insctl_write(b.net, false);
		if (p[P_SIGNALS].revents)
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
	tree_signal(SIGTERM, OURS);
	while (tree_clock_ms() < until && tree_signal(0, OURS)) {
		nanosleep(&step, NULL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	tree_kill(OURS, STOP_MS);
	for (size_t i = 0; i < inss_count(); i++)
		helper_end(&inss_at(i)->telem.helper, LAST_MS);
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
	b.ctl = -1;
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
