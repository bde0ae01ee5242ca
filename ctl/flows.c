// SPDX-License-Identifier: Apache-2.0
/*
 * flows.c - `mw flows`: connections now, and as they come and go.
 * Trust: as in telem/flow.h.
 *
 * Following looks 20 times a second at the slots and at the log of closed flows, which keeps the last 4,096; what
 * was overwritten in between is counted and said. Nothing of this touches the data path.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "lib/addr.h"
#include "telem/flow.h"

#define LOOK_MS 50
#define APPS_MAX 256

struct flows {
	bool json, follow, header;
};

static void help(void)
{
	printf("Usage: mw flows [OPTIONS] [NAME]\n\n"
	       "Lists the connections of the application NAME, or of all.\n\n"
	       "  -f, --follow  go on: a line when a connection opens, and one when it closes\n"
	       "  --json        one JSON object a line; fields are in mw(1)\n"
	       "  -h, --help    this text\n");
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void print_json(const char *name, const char *event, const struct flow *f)
{
	json_t *o = flow_json(name, event, f);
	char comm[32];

	json_object_set_new(o, "command", json_string(comm_of(f->f.pid, comm)));
	json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(16));
	putchar('\n');
	json_decref(o);
}

static void print_row(const char *name, const struct flow *f)
{
	char peer[ADDR_TEXT_BYTES], local[ADDR_TEXT_BYTES], comm[32];
	uint64_t now = now_ns();

	printf("%-12s %-5s %-11s %-26s %-22s %8.1f %8.1f %10llu %10llu %7llu %7llu %7u %s\n", name,
	       flow_type_name(f->f.type), flow_state_name(f->f.state), addr_text(&f->f.peer, peer), addr_text(&f->f.local, local), flow_age_s(f, now), flow_idle_s(f, now),
	       (unsigned long long)f->f.rx_bytes, (unsigned long long)f->f.tx_bytes, (unsigned long long)f->unread,
	       (unsigned long long)f->unsent, f->f.pid, comm_of(f->f.pid, comm));
}

static void print_header(void)
{
	printf("%-12s %-5s %-11s %-26s %-22s %8s %8s %10s %10s %7s %7s %7s %s\n", "APP", "PROTO", "STATE", "PEER", "LOCAL", "AGE(s)",
	       "IDLE(s)", "RX", "TX", "UNREAD", "UNSENT", "PID", "COMMAND");
}

/* One line of --follow. */
static void print_event(const char *name, const char *event, const struct flow *f)
{
	char peer[ADDR_TEXT_BYTES], local[ADDR_TEXT_BYTES], clock[16];
	uint64_t at = f->f.closed_ns ? f->f.closed_ns : f->f.opened_ns;
	time_t t = (time_t)(at / 1000000000u);
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	printf("%s.%03u %-5s %s %s -> %s", clock, (unsigned int)(at / 1000000 % 1000), event, name,
	       addr_text(&f->f.peer, peer), addr_text(&f->f.local, local));
	if (f->f.closed_ns)
		printf(" age=%.3fs rx=%llu tx=%llu end=%s", flow_age_s(f, at), (unsigned long long)f->f.rx_bytes,
		       (unsigned long long)f->f.tx_bytes, flow_end_name(f->f.end));
	putchar('\n');
}

static int show(struct app *a, void *arg)
{
	struct flows *o = arg;
	uint32_t high = flow_slots_high(&a->view);
	struct flow f;

	for (uint32_t i = 0; i < high; i++) {
		if (!flow_read(&a->view, i, &f))
			continue;
		if (o->json) {
			print_json(a->name, "flow", &f);
			continue;
		}
		if (!o->header)
			print_header();
		o->header = true;
		print_row(a->name, &f);
	}
	return 0;
}

/* --- following --- */

struct followed {
	struct app app;
	uint64_t *seen;    /* the id last shown for each slot */
	uint64_t next;     /* closed flows read so far */
};

static struct followed *list[APPS_MAX];
static size_t list_count;

static void event(const struct flows *o, struct followed *w, const char *what, const struct flow *f)
{
	if (o->json)
		print_json(w->app.name, what, f);
	else
		print_event(w->app.name, what, f);
}

static void lost(const struct flows *o, struct followed *w, uint64_t n)
{
	if (o->json)
		printf("{\"event\":\"lost\",\"app\":\"%s\",\"count\":%llu}\n", w->app.name, (unsigned long long)n);
	else
		printf("%s: %llu closed connections went by too fast to be shown\n", w->app.name, (unsigned long long)n);
}

/* A connection that came and went between two looks has its open line too. */
static void closed_one(const struct flows *o, struct followed *w, const struct flow *f)
{
	uint32_t slot = (uint32_t)f->f.id;
	struct flow opened = *f;

	if (f->f.peer.family == MW_FAMILY_NONE)
		return; /* a listener, or a socket that never connected */
	if (slot < w->app.view.tele.slots && w->seen[slot] != f->f.id) {
		w->seen[slot] = f->f.id;
		opened.f.closed_ns = 0;
		event(o, w, "open", &opened);
	}
	event(o, w, "close", f);
}

static void look_closed(const struct flows *o, struct followed *w)
{
	uint64_t end = flow_closed_count(&w->app.view), missed = 0;
	struct flow f;

	if (end - w->next > MW_LOG_ENTRIES) {
		missed = end - w->next - MW_LOG_ENTRIES;
		w->next = end - MW_LOG_ENTRIES;
	}
	for (; w->next != end; w->next++) {
		if (flow_read_closed(&w->app.view, w->next, &f))
			closed_one(o, w, &f);
		else
			missed++;
	}
	if (missed)
		lost(o, w, missed);
}

/* A slot's former connection is in the log before the slot has a new one: it is shown to its end first. */
static void look_open(const struct flows *o, struct followed *w)
{
	uint32_t high = flow_slots_high(&w->app.view);
	struct flow f;

	for (uint32_t i = 0; i < high; i++) {
		if (!flow_read(&w->app.view, i, &f) || f.f.id == w->seen[i])
			continue;
		if (f.f.state != MW_ST_ESTABLISHED && f.f.state != MW_ST_CONNECTING)
			continue;
		look_closed(o, w);
		if (f.f.id == w->seen[i])
			continue;
		w->seen[i] = f.f.id;
		event(o, w, "open", &f);
	}
}

static void follow_new(struct app *a)
{
	struct followed *w = list_count < APPS_MAX ? calloc(1, sizeof(*w)) : NULL;

	if (!w)
		return;
	w->app = *a;
	w->seen = calloc(a->view.tele.slots, sizeof(*w->seen));
	w->next = flow_closed_count(&a->view);
	if (!w->seen) {
		free(w);
		return;
	}
	list[list_count++] = w;
}

static bool gone(const struct followed *w)
{
	return kill((pid_t)json_integer_value(json_object_get(w->app.info, "ins_pid")), 0) < 0 && errno == ESRCH;
}

static int add(struct app *a, void *arg)
{
	(void)arg;
	json_incref(a->info);
	follow_new(a);
	memset(&a->view, 0, sizeof(a->view)); /* the mapping is the list's now */
	return 0;
}

/* Until every application followed has ended, or Ctrl-C. */
static int follow(struct flows *o, const char *name)
{
	int r = ask_each(name, add, NULL);

	if (r == 0 && !list_count) {
		fprintf(stderr, "mw: nothing runs protected: start something with `mw run`\n");
		return EXIT_PROBLEM;
	}
	while (list_count) {
		for (size_t i = 0; i < list_count; i++) {
			bool last = gone(list[i]);

			look_open(o, list[i]);
			look_closed(o, list[i]);
			if (last)
				list[i] = list[--list_count];
		}
		if (fflush(stdout) == EOF)
			return EXIT_PROBLEM;
		poll(NULL, 0, LOOK_MS);
	}
	return r;
}

int cmd_flows(int argc, char **argv)
{
	static const struct option longs[] = { { "json", 0, NULL, 'j' }, { "follow", 0, NULL, 'f' },
					       { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct flows o = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, "fh", longs, NULL)) != -1) {
		switch (c) {
		case 'j':
			o.json = true;
			break;
		case 'f':
			o.follow = true;
			break;
		case 'h':
			help();
			return EXIT_OK;
		default:
			return usage_error("flows", "see what is wrong above");
		}
	}
	if (argc - optind > 1)
		return usage_error("flows", "takes one name, not '%s' too", argv[optind + 1]);
	return o.follow ? follow(&o, argv[optind]) : ask_each(argv[optind], show, &o);
}
