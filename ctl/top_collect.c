// SPDX-License-Identifier: Apache-2.0
/*
 * top_collect.c - flows of running applications into the model; the lines above the table.
 * Trust: as in telem/flow.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/registry.h"
#include "ctl/clean.h"
#include "ctl/top.h"

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- applications that come and go --- */

static void drop(struct top *t, size_t i)
{
	top_source_fini(&t->apps[i]->source);
	app_free(&t->apps[i]->app);
	free(t->apps[i]);
	t->apps[i] = t->apps[--t->app_count];
}

static void drop_ended(struct top *t)
{
	for (size_t i = t->app_count; i-- > 0;)
		if (kill(t->apps[i]->ins_pid, 0) < 0 && errno == ESRCH)
			drop(t, i);
}

void top_forget(struct top *t)
{
	while (t->app_count)
		drop(t, t->app_count - 1);
}

static struct top_app *find(struct top *t, const char *name, uint32_t ins)
{
	for (size_t i = 0; i < t->app_count; i++)
		if (t->apps[i]->source.ins == ins && !strcmp(t->apps[i]->app.name, name))
			return t->apps[i];
	return NULL;
}

/* What a broker says of one INS. */
static void meet(struct app *app, void *arg)
{
	struct top *t = arg;
	struct top_app *a = find(t, app->name, app->view.ins) || t->app_count == TOP_APPS_MAX ? NULL : calloc(1, sizeof(*a));

	if (!a || top_source_init(&a->source, app->name, app->view.ins, app->view.tele.slots) < 0) {
		app_free(app);
		free(a);
		return;
	}
	a->app = *app;
	a->ins_pid = (pid_t)json_integer_value(json_object_get(app->info, "ins_pid"));
	t->apps[t->app_count++] = a;
}

static void note_state(struct top_app *a, const char *path)
{
	json_t *entry = json_load_file(path, 0, NULL);
	const char *state = json_string_value(json_object_get(entry, "state"));

	snprintf(a->state, sizeof(a->state), "%s", state ? state : "");
	clean_text(a->state);
	json_decref(entry);
}

struct entries {
	struct top *t;
	const char *name;
	bool unknown; /* there is an INS that we do not know */
};

static void note_entry(uint32_t ins, const char *path, void *arg)
{
	struct entries *e = arg;
	struct top_app *a = find(e->t, e->name, ins);

	if (a)
		note_state(a, path);
	else
		e->unknown = true;
}

/* One that does not answer is starting or ending, and is asked again at the next refresh. */
static void look_at(const char *name, void *arg)
{
	struct entries e = { .t = arg, .name = name };

	if (!ask_entries(name, note_entry, &e) || e.unknown)
		ask(name, meet, arg);
}

static int by_number(const void *a, const void *b)
{
	const struct top_app *x = *(struct top_app *const *)a, *y = *(struct top_app *const *)b;
	int r = strcmp(x->app.name, y->app.name);

	return r ? r : x->source.ins < y->source.ins ? -1 : x->source.ins > y->source.ins;
}

/* Of the same application as the one before it in the list. */
static bool goes_on(const struct top *t, size_t i)
{
	return i && !strcmp(t->apps[i]->app.name, t->apps[i - 1]->app.name);
}

static void look_who_is_there(struct top *t)
{
	drop_ended(t);
	if (t->name)
		look_at(t->name, t);
	else
		registry_each(look_at, t);
	qsort(t->apps, t->app_count, sizeof(t->apps[0]), by_number);
	t->look.inss = false;
	for (size_t i = 0; i < t->app_count; i++)
		t->look.inss |= goes_on(t, i);
}

/* --- an INS's load --- */

/* Milliseconds of processor time, and since the process started. False: not to be known. */
static bool process_times(pid_t pid, uint64_t *cpu_ms, uint64_t *age_ms)
{
	unsigned long long user, sys, start;
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK), up = clock_ns(CLOCK_BOOTTIME) / 1000000;
	char path[32], text[1024], *at;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu", &user,
			  &sys, &start) != 3)
		return false;
	*cpu_ms = (user + sys) * 1000 / hz;
	*age_ms = up > start * 1000 / hz ? up - start * 1000 / hz : 0;
	return true;
}

/* Since the refresh before; at the first, since it started. */
static double load_of(struct top_app *a, uint64_t span_ns)
{
	uint64_t cpu, age, before = a->cpu_ms;

	if (!process_times((pid_t)mw_load(MW_WORD(&tele_header(&a->app.view.tele)->worker_pid)), &cpu, &age))
		return 0;
	a->cpu_ms = cpu;
	if (a->source.last_ns && span_ns)
		return cpu > before ? (double)(cpu - before) * 1e6 / (double)span_ns : 0;
	return age ? (double)cpu / (double)age : 0;
}

/* --- a refresh --- */

static int collect(struct top *t, struct top_app *a)
{
	uint32_t high = flow_slots_high(&a->app.view);
	size_t before = t->model.connections;
	struct flow f;
	int r = 0;

	for (uint32_t i = 0; i < high && r == 0; i++)
		if (flow_read(&a->app.view, i, &f))
			r = top_add(&t->model, &a->source, i, &f);
	top_added(&t->model, &a->source);
	a->connections = t->model.connections - before;
	return r;
}

/* Sockets that came and went since the refresh before. */
static void count_changes(struct top_app *a, uint64_t *opened, uint64_t *closed)
{
	uint64_t sockets = mw_load(MW_WORD(&tele_header(&a->app.view.tele)->sockets));
	uint64_t ended = flow_closed_count(&a->app.view), gone = ended - a->closed;

	if (a->source.last_ns) {
		*closed += gone;
		*opened += sockets + gone > a->sockets ? sockets + gone - a->sockets : 0;
	}
	a->closed = ended;
	a->sockets = sockets;
}

int top_refresh(struct top *t)
{
	uint64_t now = clock_ns(CLOCK_REALTIME), span = t->last_ns && now > t->last_ns ? now - t->last_ns : 0;
	uint64_t opened = 0, closed = 0;
	int r = 0;

	look_who_is_there(t);
	t->model.filter = t->filter;
	t->load = 0;
	top_begin(&t->model, now, false);
	for (size_t i = 0; i < t->app_count && r == 0; i++) {
		t->apps[i]->load = load_of(t->apps[i], span);
		t->load += t->apps[i]->load;
		count_changes(t->apps[i], &opened, &closed);
		r = collect(t, t->apps[i]);
	}
	t->opened = span ? (double)opened * 1e9 / (double)span : -1;
	t->closed = span ? (double)closed * 1e9 / (double)span : -1;
	t->last_ns = now;
	return r < 0 ? r : top_arrange_again(t);
}

int top_filter_again(struct top *t)
{
	int r = 0;

	t->model.filter = t->filter;
	top_begin(&t->model, t->last_ns, true);
	for (size_t i = 0; i < t->app_count && r == 0; i++)
		r = collect(t, t->apps[i]);
	return r < 0 ? r : top_arrange_again(t);
}

int top_arrange_again(struct top *t)
{
	return top_arrange(&t->model, t->look.group, t->look.sort, t->look.reverse);
}

bool top_flow(struct top *t, const char *app, uint32_t ins, uint64_t id, struct flow *f)
{
	const struct top_app *a = find(t, app, ins);

	return a && (uint32_t)id < a->app.view.tele.slots && flow_read(&a->app.view, (uint32_t)id, f) && f->f.id == id;
}

const char *top_set_filter(struct top *t, const char *text, char why[FILTER_WHY_BYTES])
{
	struct filter *f = filter_parse(text, why);

	if (!f)
		return clean_text(why);
	filter_free(t->filter);
	t->filter = f;
	snprintf(t->filter_text, sizeof(t->filter_text), "%s", text);
	return NULL;
}

/* --- the lines above the table --- */

static const char *per_second(double v, char text[TOP_NUMBER_BYTES])
{
	if (v < 0)
		snprintf(text, TOP_NUMBER_BYTES, "-");
	else
		snprintf(text, TOP_NUMBER_BYTES, v < 9.95 ? "%.1f" : "%.0f", v);
	return text;
}

int top_headers(const struct top *t)
{
	return t->look.inss ? 4 : 3;
}

static size_t count_apps(const struct top *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->app_count; i++)
		n += !goes_on(t, i);
	return n;
}

/* "INS 0: 250 1.2%  1: 249 1.1%  3: 251 1.3% drain": those of applications that have several, connections and load. */
static void inss_line(const struct top *t, char text[TOP_LINE_BYTES])
{
	size_t at = (size_t)snprintf(text, TOP_LINE_BYTES, "INS");

	for (size_t i = 0; i < t->app_count; i++) {
		const struct top_app *a = t->apps[i];
		char connections[TOP_NUMBER_BYTES], app[40] = "", line[128];
		bool up = !*a->state || !strcmp(a->state, "up");
		int n;

		if (!goes_on(t, i) && (i + 1 == t->app_count || !goes_on(t, i + 1)))
			continue;
		if (!t->name)
			snprintf(app, sizeof(app), "%s/", a->app.name);
		n = snprintf(line, sizeof(line), " %s%u: %s %.1f%%%s%s ", app, a->source.ins, top_count(a->connections, connections), a->load * 100, up ? "" : " ",
			     up ? "" : a->state);
		if (at + (size_t)n >= TOP_LINE_BYTES)
			break;
		memcpy(text + at, line, (size_t)n + 1);
		at += (size_t)n;
	}
}

const char *top_header(const struct top *t, int line, char text[TOP_LINE_BYTES])
{
	const struct top_totals *n = &t->model.totals;
	time_t now = (time_t)(t->model.now_ns / 1000000000u);
	char a[TOP_NUMBER_BYTES], b[TOP_NUMBER_BYTES], c[TOP_NUMBER_BYTES], d[TOP_NUMBER_BYTES], clock[16] = "", what[64];
	struct tm tm;

	if (line == 0) {
		if (localtime_r(&now, &tm))
			strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
		if (t->name)
			snprintf(what, sizeof(what), "%s%s", t->name, t->app_count ? "" : " (not running)");
		else
			snprintf(what, sizeof(what), "%zu application%s", count_apps(t), count_apps(t) == 1 ? "" : "s");
		snprintf(text, TOP_LINE_BYTES, "mw top %s  %s  sockets %llu: %llu established, %llu listening", clock, what,
			 (unsigned long long)n->sockets, (unsigned long long)n->established, (unsigned long long)n->listening);
	} else if (line == 1) {
		snprintf(text, TOP_LINE_BYTES, "rx %s/s  tx %s/s  opened %s/s  closed %s/s  ", top_count(n->rx_rate, a),
			 top_count(n->tx_rate, b), per_second(t->opened, c), per_second(t->closed, d));
		snprintf(text + strlen(text), TOP_LINE_BYTES - strlen(text), "unread %s%s%s  INS load %.1f%%", top_count(n->unread, a),
			 t->model.memory ? "  mem " : "", t->model.memory ? top_count(n->memory, b) : "", t->load * 100);
	} else if (line == 3) {
		inss_line(t, text);
	} else {
		snprintf(text, TOP_LINE_BYTES, "%zu of %zu connections  sort %s%s  group %s  filter %.1500s", t->model.count,
			 t->model.connections, top_sort_name(t->look.sort), t->look.reverse ? " (reversed)" : "",
			 top_group_name(t->look.group), *t->filter_text ? t->filter_text : "none");
	}
	return clean_text(text);
}
