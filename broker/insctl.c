// SPDX-License-Identifier: Apache-2.0
/*
 * insctl.c - see insctl.h.
 * Trust: as in the header. Figures are the INS's word, and only told on.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/insctl.h"
#include "broker/share.h"
#include "broker/upgrade.h"

#define REQUEST_BYTES 256
#define CLIENTS (INSCTL_POLLS - 1)

static struct {
	const struct run_options *o;
	int listen;
	int clients[CLIENTS];
	bool watches[CLIENTS];
	uint32_t waits[CLIENTS]; /* for the upgrade of that INS, counted from 1 */
	size_t count;
	double written;
	bool changed;
	bool unwritten; /* and it was said */
} c = { .listen = -1 };

static double clock_s(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int insctl_init(const struct run_options *o)
{
	char path[REGISTRY_PATH_MAX];

	registry_path(path, o->name, "ins");
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	c.o = o;
	c.listen = registry_listen(o->name, "ins-ctl", SOCK_SEQPACKET);
	return c.listen < 0 ? c.listen : 0;
}

/* --- entries --- */

/* Ticks of processor time of a process so far. */
static uint64_t ticks_of(pid_t pid)
{
	char path[32], line[512], *end;
	unsigned long long user = 0, system = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f) && (end = strrchr(line, ')')))
		sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system);
	if (f)
		fclose(f);
	return user + system;
}

static pid_t worker_of(const struct one_ins *ins)
{
	return (pid_t)mw_load(MW_WORD(&tele_header(&ins->view)->worker_pid));
}

static uint32_t upgrades_of(const struct one_ins *ins)
{
	return mw_load(MW_WORD(&tele_header(&ins->view)->upgrades));
}

static uint32_t restarts_of(const struct one_ins *ins)
{
	uint32_t workers = mw_load(MW_WORD(&tele_header(&ins->view)->workers)), upgrades = upgrades_of(ins);

	return workers > upgrades ? workers - upgrades - 1 : 0;
}

static uint64_t listeners_of(const struct one_ins *ins)
{
	uint32_t high = mw_load_acquire(MW_WORD(&tele_header(&ins->view)->slots_high));
	uint64_t n = 0;

	for (uint32_t i = 0; i < high && i < ins->view.slots; i++) {
		struct mw_flow __peer *f = tele_flow(&ins->view, i);

		n += mw_load(MW_WORD(&f->id)) && mw_load(MW_WORD(&f->state)) < MW_ST_CONNECTING;
	}
	return n;
}

static uint64_t connections_of(const struct one_ins *ins)
{
	uint64_t sockets = mw_load(MW_WORD(&tele_header(&ins->view)->sockets)), others = listeners_of(ins);

	return sockets > others ? sockets - others : 0;
}

/* Figures of the last second or so. */
static void look(struct one_ins *ins)
{
	double now = clock_s(CLOCK_MONOTONIC), past = now - ins->load.at;
	uint64_t ticks, opened;

	if (past < 0.5)
		return;
	ticks = ticks_of(worker_of(ins));
	opened = mw_load(MW_WORD(&tele_header(&ins->view)->opened));
	if (ins->load.at > 0) {
		ins->load.cpu = ticks < ins->load.ticks ? 0 : (double)(ticks - ins->load.ticks) / (double)sysconf(_SC_CLK_TCK) / past;
		ins->load.rate = (double)(opened - ins->load.opened) / past;
	}
	if (ins->load.cpu > 1)
		ins->load.cpu = 1;
	ins->load.at = now;
	ins->load.ticks = ticks;
	ins->load.opened = opened;
}

static void add_port(json_t *a, const char *proto, int port, const char *host, int host_port)
{
	json_array_append_new(a, json_pack("{s:s,s:i,s:s,s:i}", "proto", proto, "port", port, "host", host, "host_port", host_port));
}

/* Published ones, and those that listen on this INS all the same. */
static json_t *ports_of(const struct one_ins *ins)
{
	const struct plan_port *list;
	size_t n = publish_list(&list), found;
	uint16_t ports[256];
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++) {
		char text[PLAN_ADDR_BYTES + 16], *colon;

		if (list[i].only && list[i].only != ins->number + 1)
			continue;
		plan_port_text(text, sizeof(text), &list[i]);
		colon = strrchr(text, ':');
		if (colon)
			*colon = 0;
		add_port(a, list[i].proto == IPPROTO_UDP ? "udp" : "tcp", list[i].ins_port, colon ? text : "", list[i].host_port);
	}
	found = share_ports(ports, sizeof(ports) / sizeof(ports[0]));
	for (size_t i = 0; i < found; i++) {
		size_t j = 0;

		while (j < n && (list[j].proto != IPPROTO_TCP || list[j].ins_port != ports[i]))
			j++;
		if (j == n)
			add_port(a, "tcp", ports[i], "", 0);
	}
	return a;
}

/* One that sleeps has nothing to do, and answers at once: its loop makes no heartbeat meanwhile. Its keeper sees to that. */
static double heartbeat_of(const struct one_ins *ins)
{
	if (mw_load(&ins->head->sleeping))
		return clock_s(CLOCK_REALTIME);
	return (double)mw_load(MW_WORD(&tele_header(&ins->view)->heartbeat_ns)) / 1e9;
}

static json_t *entry(struct net *net, struct one_ins *ins)
{
	static const char *const states[] = { "starting", "up", "drain" };
	const struct plan_addrs *a = net ? net_addrs(net, ins->number) : NULL;
	char host[65] = "";
	json_t *j, *load;

	look(ins);
	gethostname(host, sizeof(host) - 1);
	load = json_pack("{s:f,s:I,s:f}", "cpu", ins->load.cpu, "connections", (json_int_t)connections_of(ins), "rate", ins->load.rate);
	j = json_pack("{s:i,s:s,s:I,s:s,s:s,s:s,s:s,s:f,s:o}", "v", 1, "app", c.o->name, "ins", (json_int_t)ins->number, "host", host,
		      "address", a ? a->ins4 : ins->address, "address6", a && net_has_v6(net) ? a->ins6 : "", "state", states[ins->state], "heartbeat",
		      heartbeat_of(ins), "load", load);
	json_object_update_new(j, json_pack("{s:o,s:I,s:i,s:i,s:i,s:i,s:f}", "ports", ports_of(ins), "slots", (json_int_t)ins->view.slots,
					    "keeper_pid", (int)ins->child.pid, "worker_pid", (int)worker_of(ins), "restarts", (int)restarts_of(ins), "upgrades", (int)upgrades_of(ins),
					    "started", ins->started));
	return j;
}

static void entry_path(char path[REGISTRY_PATH_MAX], uint32_t number, const char *end)
{
	char file[32];

	snprintf(file, sizeof(file), "ins/%u.json%s", number, end);
	registry_path(path, c.o->name, file);
}

void insctl_changed(void)
{
	c.changed = true;
}

int insctl_wait_ms(void)
{
	bool wanted = c.changed || inss_count() > 1;
	double left = c.written + 1 - clock_s(CLOCK_MONOTONIC);

	for (size_t i = 0; i < c.count; i++)
		wanted |= c.watches[i];
	return !wanted ? -1 : left > 0 ? (int)(left * 1000) + 1 : 0;
}

void insctl_write(struct net *net, bool now)
{
	double t = clock_s(CLOCK_MONOTONIC);
	int bad = 0;

	if (c.listen < 0 || (!now && insctl_wait_ms() != 0))
		return;
	c.written = t;
	for (size_t i = 0; i < inss_count(); i++) {
		char path[REGISTRY_PATH_MAX], new[REGISTRY_PATH_MAX];
		json_t *j = entry(net, inss_at(i));

		entry_path(path, inss_at(i)->number, "");
		entry_path(new, inss_at(i)->number, ".new");
		if (json_dump_file(j, new, JSON_COMPACT) < 0 || rename(new, path) < 0)
			bad = errno;
		json_decref(j);
	}
	c.changed = bad; /* again in a second; at the start somebody else says what is wrong */
	if (bad && !c.unwritten && !now)
		fprintf(stderr, "mw: %s: what others see of its INSs (mw frontend, mw ins list) cannot be written, and is old from now on: %s\n",
			c.o->name, strerror(bad));
	c.unwritten = bad && !now;
}

void insctl_forget(uint32_t number)
{
	char path[REGISTRY_PATH_MAX];

	entry_path(path, number, "");
	unlink(path);
}

/* --- requests --- */

static json_t *list(struct net *net)
{
	json_t *a = json_array();

	for (size_t i = 0; i < inss_count(); i++)
		json_array_append_new(a, entry(net, inss_at(i)));
	return json_pack("{s:o}", "ins", a);
}

static json_t *add(struct net **net)
{
	char why[512] = "";

	if (!c.o->isolated)
		return json_pack("{s:s}", "error", "an application on the host's network (--net host) has one INS");
	if (inss_start(net, -1, why, sizeof(why)) < 0)
		return json_pack("{s:s}", "error", why);
	return json_pack("{s:I}", "ins", (json_int_t)inss_at(inss_count() - 1)->number);
}

static size_t count_up(void)
{
	size_t n = 0;

	for (size_t i = 0; i < inss_count(); i++)
		n += inss_at(i)->state == MW_INS_UP;
	return n;
}

static struct one_ins *one_of(const json_t *number)
{
	json_int_t n = json_is_integer(number) ? json_integer_value(number) : -1;

	return n >= 0 && n < MW_INS_MAX ? inss_find((uint32_t)n) : NULL;
}

static json_t *no_such(void)
{
	return json_pack("{s:s}", "error", "there is no INS of that number");
}

/* NULL: it has begun, and is answered when it is done. */
static json_t *upgrade(const json_t *number, int by, uint32_t *waits)
{
	struct one_ins *ins = one_of(number);
	char why[256] = "";

	if (!ins)
		return no_such();
	if (upgrade_begin(ins, c.o, by, why, sizeof(why)) < 0)
		return json_pack("{s:s}", "error", why);
	*waits = ins->number + 1;
	return NULL;
}

static json_t *change(struct net *net, const char *what, const json_t *number)
{
	struct one_ins *ins = one_of(number);

	if (!ins)
		return no_such();
	if (ins->state == MW_INS_UP && count_up() == 1)
		return json_pack("{s:s}", "error", "it is the only one that takes connections: add another first");
	if (ins->state == MW_INS_UP)
		inss_drain(net, ins); /* what is new goes elsewhere before it is gone */
	if (!strcmp(what, "kill"))
		upgrade_kill(ins); /* the rest when it has ended */
	return json_pack("{s:I}", "ins", (json_int_t)ins->number);
}

static const char *what_of(const json_t *q)
{
	return json_string_value(json_object_get(q, "do"));
}

static json_t *answer_to(struct net **net, const json_t *q, int fd, uint32_t *waits)
{
	const char *what = what_of(q);

	if (what && (!strcmp(what, "list") || !strcmp(what, "watch")))
		return list(*net);
	if (c.o->pvm)
		return json_pack("{s:s}", "error", "INS domains are dom0's: see `mw frontend` and `xl` there");
	if (what && !strcmp(what, "add"))
		return add(net);
	if (what && (!strcmp(what, "drain") || !strcmp(what, "kill")))
		return change(*net, what, json_object_get(q, "ins"));
	if (what && !strcmp(what, "upgrade"))
		return upgrade(json_object_get(q, "ins"), fd, waits);
	return json_pack("{s:s}", "error", "a request is {\"do\":\"list\"|\"watch\"|\"add\"|\"drain\"|\"kill\"|\"upgrade\"}, the last three with \"ins\"");
}

/* True: it stays. */
static bool serve(struct net **net, int fd, uint32_t *waits)
{
	bool stays;
	char text[REQUEST_BYTES];
	ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
	json_t *q = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL, *a = n > 0 ? answer_to(net, q, fd, waits) : NULL;
	char *out = a ? json_dumps(a, JSON_COMPACT) : NULL;

	if (out)
		send(fd, out, strlen(out), MSG_DONTWAIT | MSG_NOSIGNAL);
	stays = *waits || (out && what_of(q) && !strcmp(what_of(q), "watch"));
	free(out);
	json_decref(a);
	json_decref(q);
	if (n > 0)
		insctl_write(*net, true);
	return stays;
}

/* Who is answered hangs up, and goes as one who watches does. */
void insctl_upgraded(const struct one_ins *ins, const char *why)
{
	json_t *a = why ? json_pack("{s:s}", "error", why) : json_pack("{s:I}", "ins", (json_int_t)ins->number);
	char *out = a ? json_dumps(a, JSON_COMPACT) : NULL;

	for (size_t i = 0; out && i < c.count; i++) {
		if (c.waits[i] != ins->number + 1)
			continue;
		if (send(c.clients[i], out, strlen(out), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			shutdown(c.clients[i], SHUT_RDWR); /* it need not wait for more */
		c.waits[i] = 0;
	}
	free(out);
	json_decref(a);
	c.changed = true;
	c.written = 0; /* at once */
}

static void drop(size_t i)
{
	close(c.clients[i]);
	c.clients[i] = c.clients[--c.count];
	c.watches[i] = c.watches[c.count];
	c.waits[i] = c.waits[c.count];
}

size_t insctl_polls(struct pollfd *p)
{
	p[0] = (struct pollfd){ .fd = c.listen, .events = POLLIN };
	for (size_t i = 0; i < c.count; i++)
		p[i + 1] = (struct pollfd){ .fd = c.clients[i], .events = POLLIN };
	return c.count + 1;
}

/* A client has one request, and is answered once. */
void insctl_events(struct net **net, const struct pollfd *p, size_t n)
{
	int fd;

	for (size_t i = n - 1; i > 0; i--) {
		if (!p[i].revents)
			continue;
		c.watches[i - 1] = !c.watches[i - 1] && serve(net, p[i].fd, &c.waits[i - 1]);
		if (!c.watches[i - 1])
			drop(i - 1);
	}
	if (!p[0].revents || (fd = accept4(c.listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) < 0)
		return;
	if (c.count == CLIENTS)
		drop(0);
	c.watches[c.count] = false;
	c.waits[c.count] = 0;
	c.clients[c.count++] = fd;
}
