// SPDX-License-Identifier: Apache-2.0
/*
 * entries.c - see entries.h.
 * Trust: as in the header. Figures are the INS's word, and only told on.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/entries.h"
#include "broker/share.h"

static struct {
	const struct run_options *o;
	double written;
	bool changed;
	bool unwritten; /* and it was said */
} e;

static double clock_s(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int entries_init(const struct run_options *o)
{
	char path[REGISTRY_PATH_MAX];

	registry_path(path, o->name, "ins");
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	e.o = o;
	return 0;
}

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

json_t *entries_one(struct net *net, struct one_ins *ins)
{
	static const char *const states[] = { "starting", "up", "drain" };
	const struct plan_addrs *a = net ? net_addrs(net, ins->number) : NULL;
	char host[65] = "";
	json_t *j, *load;

	look(ins);
	gethostname(host, sizeof(host) - 1);
	load = json_pack("{s:f,s:I,s:f}", "cpu", ins->load.cpu, "connections", (json_int_t)connections_of(ins), "rate", ins->load.rate);
	j = json_pack("{s:i,s:s,s:I,s:s,s:s,s:s,s:s,s:f,s:o}", "v", 1, "app", e.o->name, "ins", (json_int_t)ins->number, "host", host,
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
	registry_path(path, e.o->name, file);
}

void entries_changed(void)
{
	e.changed = true;
}

void entries_due(void)
{
	e.changed = true;
	e.written = 0;
}

int entries_wait_ms(bool watched)
{
	double left = e.written + 1 - clock_s(CLOCK_MONOTONIC);

	return !e.changed && !watched && inss_count() < 2 ? -1 : left > 0 ? (int)(left * 1000) + 1 : 0;
}

/* An error number, or 0. */
static int write_one(const json_t *j, uint32_t number)
{
	char path[REGISTRY_PATH_MAX], new[REGISTRY_PATH_MAX];

	entry_path(path, number, "");
	entry_path(new, number, ".new");
	return json_dump_file(j, new, JSON_COMPACT) < 0 || rename(new, path) < 0 ? errno : 0;
}

/* Errors: again in a second. */
static int write_all(struct net *net)
{
	int bad = 0;

	e.written = clock_s(CLOCK_MONOTONIC);
	for (size_t i = 0; i < inss_count(); i++) {
		json_t *j = entries_one(net, inss_at(i));
		int err = write_one(j, inss_at(i)->number);

		if (err)
			bad = err;
		json_decref(j);
	}
	e.changed = bad;
	return bad;
}

void entries_write(struct net *net)
{
	write_all(net);
	e.unwritten = false;
}

void entries_write_due(struct net *net, bool watched)
{
	int bad;

	if (entries_wait_ms(watched) != 0)
		return;
	bad = write_all(net);
	if (bad && !e.unwritten)
		fprintf(stderr, "mw: %s: what others see of its INSs (mw frontend, mw ins list) cannot be written, and is old from now on: %s\n",
			e.o->name, strerror(bad));
	e.unwritten = bad;
}

void entries_forget(uint32_t number)
{
	char path[REGISTRY_PATH_MAX];

	entry_path(path, number, "");
	unlink(path);
}
