// SPDX-License-Identifier: Apache-2.0
/*
 * grow.c - see grow.h.
 * Trust: as in the header.
 */
#include <stdio.h>
#include <string.h>

#include "front/control.h"
#include "front/grow.h"

static struct {
	const struct front_options *o;
	struct scale scale;
	struct control control;
	char refused[CONTROL_WHY_BYTES], asked[96];
} g = { .control.fd = -1 };

void grow_init(const struct front_options *o)
{
	g.o = o;
	g.scale = o->scale;
}

int grow_fd(void)
{
	return g.control.fd;
}

static void ask(const char *what, uint32_t ins)
{
	char path[PATH_MAX], why[CONTROL_WHY_BYTES];

	snprintf(path, sizeof(path), "%s/%s/ins-ctl", g.o->root, g.o->name);
	if (!strcmp(what, "add"))
		snprintf(g.asked, sizeof(g.asked), "the INSs are busy, or too few: another one is started");
	else if (!strcmp(what, "kill"))
		snprintf(g.asked, sizeof(g.asked), "INS %u has no connections any more: it is ended", ins);
	else
		snprintf(g.asked, sizeof(g.asked), "INS %u is retired: it gets no new connections", ins);
	if (control_ask(&g.control, path, what, ins, why) == 0)
		return;
	if (strcmp(g.refused, why))
		frontend_say("the broker cannot be asked: %s", why);
	snprintf(g.refused, sizeof(g.refused), "%s", why);
}

void grow_turn(int64_t now_ms)
{
	char why[CONTROL_WHY_BYTES];

	if (g.control.fd < 0 || !control_turn(&g.control, now_ms, why))
		return;
	if (!why[0])
		frontend_say("%s", g.asked);
	else if (strcmp(why, g.refused))
		frontend_say("the broker refuses: %s", why);
	snprintf(g.refused, sizeof(g.refused), "%s", why);
}

/* The one to retire: with the fewest connections; of equals the youngest. */
static const struct member *least_used(const struct member *members, size_t count, const char *here)
{
	const struct member *best = NULL;

	for (const struct member *m = members; m < members + count; m++) {
		if (strcmp(m->e.host, here) || !m->in)
			continue;
		if (!best || m->e.connections < best->e.connections ||
		    (m->e.connections <= best->e.connections && m->e.ins > best->e.ins))
			best = m;
	}
	return best;
}

/* Drained, and what was on its way to it when its rules went has come and is counted. */
static const struct member *drained(const struct member *members, size_t count, const char *here, int64_t now_ms)
{
	for (const struct member *m = members; m < members + count; m++)
		if (!strcmp(m->e.host, here) && m->e.state == ENTRY_DRAIN && m->e.connections < 1 && !m->in &&
		    now_ms - m->out_ms > (MEMBER_MISSES + 1) * (int64_t)g.o->heartbeat_ms)
			return m;
	return NULL;
}

/* What is needed, of INSs that run or start and of the load of those that serve. */
static enum scale_do needed(const struct member *members, size_t count, const char *here, int64_t now_ms)
{
	unsigned running = 0, loaded = 0;
	double load = 0;

	for (const struct member *m = members; m < members + count; m++) {
		if (strcmp(m->e.host, here) || (m->e.state != ENTRY_UP && m->e.state != ENTRY_STARTING))
			continue;
		running++;
		loaded += m->in;
		load += m->in ? m->e.cpu : 0;
	}
	return scale_decide(&g.scale, now_ms, running, loaded ? load / loaded : 0);
}

void grow_decide(const struct member *members, size_t count, const char *here, int64_t now_ms)
{
	const struct member *m;

	if (!g.scale.max || g.control.fd >= 0)
		return;
	m = drained(members, count, here, now_ms);
	if (m) {
		ask("kill", m->e.ins);
		return;
	}
	switch (needed(members, count, here, now_ms)) {
	case SCALE_ADD:
		ask("add", 0);
		break;
	case SCALE_RETIRE:
		m = least_used(members, count, here);
		if (m)
			ask("drain", m->e.ins);
		break;
	default:
		break;
	}
}

void grow_stop(void)
{
	control_stop(&g.control);
}
