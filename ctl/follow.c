// SPDX-License-Identifier: Apache-2.0
/*
 * follow.c - `mw flows --follow`: connections as they come and go, of INSs that come and go, and all events and samples as JSON.
 * Trust: as in telem/flow.h; lines come from mw-telem, are bounded, and are shown as text.
 *
 * Telemetry's events say when to look at the slots and at the log of closed flows, which keeps the last 4,096; what was
 * overwritten in between is counted and said. Without telemetry there is a look 20 times a second.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/registry.h"
#include "ctl/clean.h"
#include "ctl/ctl.h"
#include "lib/addr.h"
#include "lib/clock.h"

#define LOOK_MS 50
#define REST_MS 1000
#define APPS_MAX 256
#define LINE_BYTES 65536

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

struct followed {
	struct app app;
	uint64_t *seen;    /* the id last shown for each slot */
	uint64_t next;     /* closed flows read so far */
	int control;       /* telemetry's events; -1: none */
	size_t in_bytes;
	char in[LINE_BYTES];
};

static struct followed *list[APPS_MAX];
static size_t list_count;
static bool json;

static void event(struct followed *w, const char *what, const struct flow *f)
{
	if (json)
		flows_json(what, f);
	else
		print_event(w->app.name, what, f);
}

static void lost(struct followed *w, uint64_t n)
{
	if (json)
		printf("{\"event\":\"lost\",\"app\":\"%s\",\"count\":%llu}\n", w->app.name, (unsigned long long)n);
	else
		printf("%s: %llu closed connections went by too fast to be shown\n", w->app.name, (unsigned long long)n);
}

/* A connection that came and went between two looks has its open line too. */
static void closed_one(struct followed *w, const struct flow *f)
{
	uint32_t slot = (uint32_t)f->f.id;
	struct flow opened = *f;

	if (f->f.peer.family == MW_FAMILY_NONE)
		return; /* a listener, or a socket that never connected */
	if (slot < w->app.view.tele.slots && w->seen[slot] != f->f.id) {
		w->seen[slot] = f->f.id;
		opened.f.closed_ns = 0;
		event(w, "open", &opened);
	}
	event(w, "close", f);
}

static void look_closed(struct followed *w)
{
	uint64_t end = flow_closed_count(&w->app.view), missed = 0;
	struct flow f;

	if (end - w->next > MW_LOG_ENTRIES) {
		missed = end - w->next - MW_LOG_ENTRIES;
		w->next = end - MW_LOG_ENTRIES;
	}
	for (; w->next != end; w->next++) {
		if (flow_read_closed(&w->app.view, w->next, &f))
			closed_one(w, &f);
		else
			missed++;
	}
	if (missed)
		lost(w, missed);
}

/* A slot's former connection is in the log before the slot has a new one: it is shown to its end first. */
static void look_open(struct followed *w)
{
	uint32_t high = flow_slots_high(&w->app.view);
	struct flow f;

	for (uint32_t i = 0; i < high; i++) {
		uint64_t id = flow_id(&w->app.view, i);

		if (!id || id == w->seen[i] || !flow_read(&w->app.view, i, &f))
			continue;
		if (f.f.state != MW_ST_ESTABLISHED && f.f.state != MW_ST_CONNECTING && f.f.state != MW_ST_HELD)
			continue;
		look_closed(w);
		if (f.f.id == w->seen[i])
			continue;
		w->seen[i] = f.f.id;
		event(w, "open", &f);
	}
}

/* --- INSs that come and go --- */

/* From that one of the closed flows on. True: it is the list's now. */
static bool follow_new(const struct app *a, uint64_t next)
{
	struct followed *w = list_count < APPS_MAX ? calloc(1, sizeof(*w)) : NULL;

	if (!w)
		return false;
	w->app = *a;
	w->seen = calloc(a->view.tele.slots, sizeof(*w->seen));
	if (!w->seen) {
		free(w);
		return false;
	}
	w->next = next;
	w->control = control_follow(a->name, a->view.ins, json);
	list[list_count++] = w;
	return true;
}

static bool gone(const struct app *a)
{
	return kill((pid_t)json_integer_value(json_object_get(a->info, "ins_pid")), 0) < 0 && errno == ESRCH;
}

static int add(struct app *a, void *arg)
{
	(void)arg;
	if (!follow_new(a, flow_closed_count(&a->view)))
		return 0;
	json_incref(a->info);
	memset(&a->view, 0, sizeof(a->view)); /* the mapping is the list's now */
	return 0;
}

static bool is_followed(const char *name, uint32_t ins)
{
	for (size_t i = 0; i < list_count; i++)
		if (list[i]->app.view.ins == ins && !strcmp(list[i]->app.name, name))
			return true;
	return false;
}

/* What came after we did is told of from its beginning. */
static void meet(struct app *a, void *arg)
{
	(void)arg;
	if (is_followed(a->name, a->view.ins) || gone(a) || !follow_new(a, 0))
		app_free(a);
}

struct entries {
	const char *name;
	bool unknown;
};

static void note_entry(uint32_t ins, const char *path, void *arg)
{
	struct entries *e = arg;

	(void)path;
	e->unknown |= !is_followed(e->name, ins);
}

static void look_for_more(const char *name, void *arg)
{
	struct entries e = { .name = name };

	(void)arg;
	ask_entries(name, note_entry, &e);
	if (e.unknown)
		ask(name, meet, NULL);
}

/* Once a second, where a broker lets us wait for a tenth of the time; at once when none is left. */
static void look_around(const char *name)
{
	static int64_t next_ms;
	int64_t began_ms = clock_ms();

	if (list_count && began_ms < next_ms)
		return;
	if (name)
		look_for_more(name, NULL);
	else
		registry_each(look_for_more, NULL);
	next_ms = clock_ms() + REST_MS + 10 * (clock_ms() - began_ms);
}

/* --- telemetry's lines --- */

static void say(const char *text)
{
	fputs(text, stdout);
	putchar('\n');
}

/* A close is told from the log, with all fields. */
static void line(char *text)
{
	static const char event_is[] = "{\"event\":\"", closed[] = "{\"event\":\"close\"";

	if (json && !strncmp(text, event_is, sizeof(event_is) - 1) && strncmp(text, closed, sizeof(closed) - 1) != 0)
		say(clean_text(text));
}

static void lines(struct followed *w)
{
	char *at = w->in, *end;
	size_t left = w->in_bytes;

	while ((end = memchr(at, '\n', left))) {
		*end = 0;
		line(at);
		left -= (size_t)(end + 1 - at);
		at = end + 1;
	}
	memmove(w->in, at, left);
	w->in_bytes = left;
}

/* True if it said something. When it dies its successor is found. */
static bool hear(struct followed *w)
{
	ssize_t n;

	if (w->control < 0) {
		w->control = control_follow(w->app.name, w->app.view.ins, json);
		w->in_bytes = 0;
		return false;
	}
	n = recv(w->control, w->in + w->in_bytes, sizeof(w->in) - w->in_bytes, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		close(w->control);
		w->control = -1;
		return false;
	}
	w->in_bytes += (size_t)n;
	look_open(w); /* an open comes before what happens next */
	lines(w);
	return true;
}

/* --- all of them --- */

/* False when the application has ended. */
static bool turn(struct followed *w, int *wait_ms)
{
	bool last = gone(&w->app), more = hear(w);

	look_open(w);
	look_closed(w);
	if (more || w->control < 0)
		*wait_ms = LOOK_MS;
	if (last && w->control >= 0)
		close(w->control);
	return !last;
}

/* False when nobody reads what we say any more. */
static bool rest(int wait_ms)
{
	struct pollfd p[1 + APPS_MAX] = { { .fd = STDOUT_FILENO } };

	for (size_t i = 0; i < list_count; i++)
		p[1 + i] = (struct pollfd){ .fd = list[i]->control, .events = POLLIN };
	poll(p, 1 + list_count, wait_ms);
	return !(p[0].revents & (POLLERR | POLLHUP));
}

/* Until every application followed has ended, nobody reads, or Ctrl-C. */
int flows_follow(const char *name, bool as_json)
{
	int r;

	json = as_json;
	r = ask_each(name, add, NULL);
	if (r == 0 && !list_count)
		fprintf(stderr, "mw: nothing runs protected: start something with `mw run`\n");
	if (!list_count)
		return r ? r : EXIT_PROBLEM;
	for (; list_count; look_around(name)) {
		int wait_ms = REST_MS;

		for (size_t i = 0; i < list_count; i++)
			if (!turn(list[i], &wait_ms))
				list[i] = list[--list_count];
		if (fflush(stdout) == EOF)
			return EXIT_PROBLEM;
		if (!rest(wait_ms)) {
			raise(SIGPIPE); /* as the next line would */
			return EXIT_PROBLEM;
		}
	}
	return r;
}
