// SPDX-License-Identifier: Apache-2.0
/*
 * supervise.c - the broker: starts the INSs and the application, and stays until both are gone.
 * Trust: an INS's records are checked by size and kind; whoever may connect to our sockets is the user.
 *
 * Never on the data path. It ends with the application; when the last INS dies it ends the application, because its
 * connections are gone; when `mw run` dies it goes on, and gives way to whoever adopts (heir.c). Killed itself, it leaves
 * everything as it is to the depot.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/deposit.h"
#include "broker/entries.h"
#include "broker/hear.h"
#include "broker/heir.h"
#include "broker/helper.h"
#include "broker/info.h"
#include "broker/insctl.h"
#include "broker/inss.h"
#include "broker/mirror.h"
#include "broker/owner.h"
#include "broker/record.h"
#include "broker/share.h"
#include "broker/shed.h"
#include "broker/tree.h"
#include "broker/upgrade.h"
#include "lib/clock.h"
#include "lib/notify.h"
#include "link/names.h"

#define STOP_MS 1500 /* from SIGTERM to SIGKILL; all must be gone within 2 s of a death */
#define LAST_MS 400 /* for the last records */
#define OURS (-1)   /* for tree.h: INSs and helpers, which it spares */

static struct {
	const struct run_options *o;
	struct child app;
	struct net *net;
	int signals, ctl, lifeline, deaths;
	pid_t front;      /* `mw run` */
	ino_t netns;      /* of the application's namespace */
	time_t started;
	int status;       /* the command's exit status */
	bool app_ended, done;
} b;

static struct helper names = { .key = "helper/names", .what = "the resolver", .lost = "lookups under way failed" };

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

/* The application ends: an heir is told how. -1: it lives. */
static void leave_app(int status)
{
	const struct deposit_about about = { DEPOT_APP, b.app.pid, status };
	int fd = pidfd_open(b.app.pid, 0);

	if (fd < 0)
		return;
	deposit_put("app", "", 0, &fd, 1, &about);
	close(fd);
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

/* Where commands come. */
static int answer_commands(char *why, size_t why_bytes)
{
	int r = insctl_init(b.o);

	if (r < 0) {
		snprintf(why, why_bytes, "cannot write to the runtime directory: %s", strerror(-r));
		return r;
	}
	entries_write(b.net);
	b.ctl = registry_listen(b.o->name, "ctl", SOCK_SEQPACKET);
	if (b.ctl < 0)
		snprintf(why, why_bytes, "cannot listen in the runtime directory: %s", strerror(-b.ctl));
	return b.ctl < 0 ? b.ctl : 0;
}

static int start(const struct seat *s, char *why, size_t why_bytes)
{
	int control[2] = { -1, -1 }, r = spawn_app(&b.app, control, b.o, why, why_bytes);

	if (r == 0) {
		look_at_app();
		mirror_reach(b.o);
		r = start_inss(control, why, why_bytes);
	}
	if (r == 0)
		r = answer_commands(why, why_bytes);
	if (r == 0)
		r = mirror_start(b.o, why, why_bytes);
	if (r < 0)
		return r;
	heir_leave(b.o, s->lock, &(struct heir_left){ .app = b.app.pid, .netns = b.netns, .started = b.started });
	leave_app(-1);
	r = spawn_app_go(&b.app, b.o->command, why, why_bytes);
	if (r < 0)
		b.status = r == -ENOENT ? 127 : 126;
	return r;
}

/* --- answering mw ps, flows, doctor --- */

static void show(void)
{
	const struct info i = { .o = b.o, .network = b.net, .net = b.o->isolated ? "isolated" : "host",
				.lane = b.o->lane == LANE_STREAM ? "stream" : "ring", .front = b.front, .app = b.app.pid, .names = names.pid,
				.netns = b.netns, .started = b.started, .command = b.o->command };

	info_show(b.ctl, &i);
}

/* --- events --- */

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

/* Its connections are lost; the application goes on as long as there is another. status -1: nobody told us. */
static void ins_died(struct one_ins *ins, int status)
{
	bool last = inss_count() == 1;
	char how[TREE_HOW_BYTES] = "";

	if (status >= 0)
		tree_how(status, how);
	fprintf(stderr, "mw: %s: INS %u ended%s%s%s: its connections are lost%s\n", b.o->name, ins->number, *how ? " (" : "", how, *how ? ")" : "",
		last ? ", ending the application" : "");
	insctl_upgraded(ins, "it has ended");
	entries_forget(ins->number);
	if (last) {
		ins->child.pid = -1;
		b.status = 125;
		b.done = true;
		return;
	}
	inss_ended(b.net, ins);
	entries_write(b.net);
}

static bool telem_ended(pid_t pid, int status)
{
	for (size_t i = 0; i < inss_count(); i++)
		if (helper_ended(&inss_at(i)->telem.helper, pid, status, b.o->name))
			return true;
	return false;
}

static void one_ended(pid_t pid, int status)
{
	struct one_ins *ins = inss_of_pid(pid), *next = upgrade_of_pid(pid);

	if (ins || next) {
		if (!(ins ? upgrade_old_ended(ins, status) : upgrade_next_ended(next, &status, b.o->name)))
			ins_died(ins ? ins : next, status);
		return;
	}
	if (helper_ended(&names, pid, status, b.o->name) || telem_ended(pid, status) || mirror_ended(pid, status, b.o->name))
		return;
	if (pid == b.app.pid) {
		b.app_ended = true;
		b.status = exit_status(status);
		b.done = b.status != 0; /* it failed or was killed: what it leaves is ended */
	}
}

/* An heir that comes between the two knows it too. */
static void note_app(void)
{
	siginfo_t i = { 0 };

	if (!b.app_ended && waitid(P_PID, (id_t)b.app.pid, &i, WEXITED | WNOHANG | WNOWAIT) == 0 && i.si_pid)
		leave_app(i.si_code == CLD_EXITED ? i.si_status : 128 + i.si_status);
}

/* A command that ended well may have become a daemon: its processes are ours, and protected until they end. */
static void look_for_daemon(void)
{
	if (b.app_ended && tree_signal(0, OURS) == 0)
		b.done = true;
}

static void reap(void)
{
	int status;
	pid_t pid;

	note_app();
	while (!b.done && (pid = waitpid(-1, &status, WNOHANG)) > 0)
		one_ended(pid, status);
	look_for_daemon();
}

/* Children of the depot's, which were a dead broker's. */
static void death_event(void)
{
	struct depot_msg m;
	int fds[DEPOT_FDS];

	while (!b.done && depot_recv(b.deaths, &m, fds, MSG_DONTWAIT) == 1)
		one_ended(m.pid, m.status);
	look_for_daemon();
}

static void pass_on(int sig)
{
	if (!b.app_ended)
		kill(b.app.pid, sig);
	else
		tree_signal(sig, OURS);
}

/* What a person sends to us; the terminal's own reach the application directly. */
static void signal_event(void)
{
	struct signalfd_siginfo i;

	if (read(b.signals, &i, sizeof(i)) != sizeof(i))
		return;
	if (i.ssi_signo == SIGCHLD)
		reap();
	else if (i.ssi_code != SI_KERNEL)
		pass_on((int)i.ssi_signo);
}

/* What a person or a script sends to `mw run`. When that one is gone and there is no depot, nobody can come after us. */
static void lifeline_event(void)
{
	int sig;
	ssize_t n = recv(b.lifeline, &sig, sizeof(sig), MSG_DONTWAIT);

	if (n == sizeof(sig))
		pass_on(sig);
	if (n == sizeof(sig) || (n < 0 && errno == EAGAIN))
		return;
	close(b.lifeline);
	b.lifeline = -1;
	b.done = deposit_depot() < 0;
}

static void depot_died(void)
{
	close(deposit_depot());
	deposit_to(-1);
	b.done = b.lifeline < 0;
	fprintf(stderr, "mw: %s: the depot died: all goes on, but this broker's death will end it\n", b.o->name);
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
	int ms = sooner(sooner(entries_wait_ms(insctl_watched()), notify_wait_ms()), sooner(helper_wait_ms(&names), rules_wait_ms()));

	ms = sooner(ms, mirror_wait_ms());
	for (size_t i = 0; i < inss_count(); i++)
		ms = sooner(sooner(ms, helper_wait_ms(&inss_at(i)->telem.helper)), upgrade_wait_ms(inss_at(i)));
	return ms;
}

static void helpers_due(void)
{
	helper_due(&names);
	for (size_t i = 0; i < inss_count(); i++) {
		helper_due(&inss_at(i)->telem.helper);
		upgrade_due(inss_at(i));
	}
}

/* Once a second. */
static void rules_due(void)
{
	static int64_t last_ms;
	int64_t now = clock_ms();

	if (rules_wait_ms() < 0 || now - last_ms < 1000)
		return;
	last_ms = now;
	if (net_catch_up(b.net))
		fprintf(stderr, "mw: %s: nftables takes rules again: they are as they should be\n", b.o->name);
}

enum { P_SIGNALS, P_LIFELINE, P_CTL, P_DEPOT, P_DEATHS, P_NAMES, P_MIRROR, P_FIXED };
enum { P_INS, P_TELEM, P_NEXT, P_EACH };

/* Of each INS its records, its telemetry's and its next program's, behind the fixed ones; what connects to ins-ctl last. */
static size_t fill(struct pollfd *p)
{
	size_t n = P_FIXED;

	p[P_SIGNALS] = (struct pollfd){ .fd = b.signals, .events = POLLIN };
	p[P_LIFELINE] = (struct pollfd){ .fd = b.lifeline, .events = POLLIN };
	p[P_CTL] = (struct pollfd){ .fd = b.ctl, .events = POLLIN };
	p[P_DEPOT] = (struct pollfd){ .fd = deposit_depot(), .events = POLLIN };
	p[P_DEATHS] = (struct pollfd){ .fd = b.deaths, .events = POLLIN };
	p[P_NAMES] = (struct pollfd){ .fd = names.pid && names.adopted ? names.up : -1 };
	p[P_MIRROR] = (struct pollfd){ .fd = mirror_up() };
	for (size_t i = 0; i < inss_count(); i++) {
		const struct one_ins *ins = inss_at(i);

		p[n++] = (struct pollfd){ .fd = ins->child.fd, .events = record_room(ins) ? POLLIN : POLLOUT };
		p[n++] = (struct pollfd){ .fd = ins->telem.helper.pid ? ins->telem.helper.up : -1, .events = POLLIN };
		p[n++] = (struct pollfd){ .fd = upgrade_poll(ins), .events = POLLIN };
	}
	return n;
}

/* False: the list of INSs has changed. */
static bool ins_events(struct one_ins *ins, const struct pollfd *p)
{
	if (p[P_TELEM].revents && (!(p[P_TELEM].revents & POLLHUP) || !helper_gone(&ins->telem.helper, b.o->name)))
		telem_record(&ins->telem.helper);
	if (p[P_NEXT].revents)
		upgrade_record(ins, b.o->name);
	if (!p[P_INS].revents || hear(b.net, b.o, b.netns, ins))
		return true;
	if (ins->adopted) {
		ins_died(ins, -1);
		return false;
	}
	close(ins->child.fd); /* it has ended; SIGCHLD says so */
	ins->child.fd = -1;
	return true;
}

/* What is not there in every broker. */
static void rare_events(const struct pollfd *p)
{
	if (p[P_LIFELINE].revents)
		lifeline_event();
	if (p[P_DEPOT].revents)
		depot_died();
	if (p[P_NAMES].revents)
		helper_gone(&names, b.o->name);
	if (p[P_MIRROR].revents)
		mirror_gone(b.o->name);
	if (p[P_DEATHS].revents & POLLIN)
		death_event();
	else if (p[P_DEATHS].revents) {
		close(b.deaths);
		b.deaths = -1;
	}
}

static void loop(void)
{
	struct pollfd p[P_FIXED + P_EACH * PLAN_INS_MAX + INSCTL_POLLS];

	while (!b.done) {
		size_t n = fill(p), count = inss_count(), more = insctl_polls(p + n);

		if (poll(p, n + more, wait_ms()) < 0)
			continue;
		helpers_due();
		mirror_due();
		rules_due();
		notify_alive();
		for (size_t i = 0; i < count && ins_events(inss_at(i), p + P_FIXED + P_EACH * i); i++)
			;
		if (p[P_CTL].revents)
			show();
		insctl_events(&b.net, p + n, more);
		entries_write_due(b.net, insctl_watched());
		if (p[P_SIGNALS].revents)
			signal_event();
		rare_events(p);
	}
}

/* SIGTERM, a while, SIGKILL. The INS last, so that what the application says at its end still gets out; before it telemetry,
 * which reports how each connection ended. */
static void end_all(void)
{
	struct timespec step = { .tv_nsec = 10000000 };
	int64_t until = clock_ms() + STOP_MS;

	notify_stopping();
	mirror_end();
	tree_signal(SIGTERM, OURS);
	while (clock_ms() < until && tree_signal(0, OURS)) {
		nanosleep(&step, NULL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	tree_kill(OURS, STOP_MS);
	for (size_t i = 0; i < inss_count(); i++)
		helper_end(&inss_at(i)->telem.helper, LAST_MS);
	for (size_t i = 0; i < inss_count(); i++)
		if (inss_at(i)->adopted && inss_at(i)->child.pid > 0)
			kill(inss_at(i)->child.pid, SIGKILL); /* it may be nobody's child that we know */
	tree_kill(0, STOP_MS);
	net_close(b.net);
}

static int sit(struct run_options *o, const struct seat *s)
{
	sigset_t all;

	b.o = o;
	b.lifeline = s->lifeline;
	b.front = s->front;
	b.ctl = b.deaths = -1;
	b.status = 125;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigfillset(&all);
	b.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	return b.signals < 0 ? -errno : 0;
}

static int serve(void)
{
	int r = shed();

	if (r < 0)
		fprintf(stderr, "mw: cannot give up capabilities that are not needed: %s\n", strerror(-r));
	notify_ready();
	loop();
	end_all();
	deposit_end();
	return b.status;
}

int supervise(struct run_options *o, const struct seat *s)
{
	char why[512] = "";
	int r = sit(o, s);

	deposit_to(s->depot);
	b.started = time(NULL);
	if (r == 0)
		r = start(s, why, sizeof(why));
	if (r < 0) {
		fprintf(stderr, "mw: %s%s\n", why[0] ? "" : "cannot start: ", why[0] ? why : strerror(-r));
		tree_kill(0, STOP_MS);
		net_close(b.net);
		deposit_end();
		return b.status;
	}
	return serve();
}

/* --- after a broker that died --- */

static bool lives(uint32_t ins)
{
	return inss_find(ins) != NULL;
}

static int adopt_all(run_parse *parse, char *why, size_t why_bytes)
{
	struct run_options *o = (struct run_options *)(uintptr_t)b.o;
	struct heir_left left;
	int r = heir_take(o, parse, &left, why, why_bytes);

	if (r == 0)
		r = inss_adopt(o, why, why_bytes);
	if (r == 0 && o->isolated)
		r = net_adopt(&b.net, o->name, why, why_bytes);
	if (r < 0)
		return r;
	b.app.pid = left.app;
	b.netns = left.netns;
	b.started = left.started;
	b.app_ended = left.app_status >= 0;
	share_adopt(b.net);
	publish_adopt();
	record_adopt();
	names.path = spawn_names_path();
	if (!helper_adopt(&names) && deposit_find(names.key)) {
		snprintf(why, why_bytes, "no memory for what the resolver was started with");
		return -ENOMEM;
	}
	r = mirror_adopt(o, why, why_bytes);
	if (r == 0 && b.net && net_settle(b.net, publish_serves, lives, why, why_bytes) < 0)
		fprintf(stderr, "mw: %s\n", why);
	if (r == 0 && b.net)
		inss_settle(b.net);
	return r == 0 ? answer_commands(why, why_bytes) : r;
}

int supervise_heir(struct run_options *o, const struct seat *s, run_parse *parse)
{
	char why[512] = "";
	pid_t pid = 0;
	int r = sit(o, s);

	if (r < 0)
		fprintf(stderr, "mw: cannot adopt %s: %s\n", o->name, strerror(-r));
	else
		r = heir_come(o->name, s, &b.deaths, &pid);
	if (r < 0)
		return r;
	tree_also(pid);
	r = adopt_all(parse, why, sizeof(why));
	if (r < 0) {
		fprintf(stderr, "mw: cannot adopt %s: %s\n", o->name, why);
		return r;
	}
	deposit_forget();
	b.status = 0;
	fprintf(stderr, "mw: %s: taken over from the broker that died\n", o->name);
	return serve();
}
