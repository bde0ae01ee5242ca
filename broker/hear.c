// SPDX-License-Identifier: Apache-2.0
/*
 * hear.c - see hear.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "broker/entries.h"
#include "broker/hear.h"
#include "broker/record.h"
#include "broker/share.h"
#include "broker/tree.h"
#include "broker/upgrade.h"
#include "lib/clock.h"

static void worker_died(const char *app, struct one_ins *ins, const struct broker_msg *m)
{
	char which[32] = "the INS", how[TREE_HOW_BYTES];

	if (!seldom_may(&ins->said, clock_ms()))
		return;
	if (inss_count() > 1)
		snprintf(which, sizeof(which), "INS %u", ins->number);
	fprintf(stderr, "mw: %s: %s's worker %s (%s) and is replaced: its connections go on\n", app, which,
		m->gen ? "hung" : "died", tree_how(m->status, how));
}

bool hear(struct net *net, const struct run_options *o, ino_t netns, struct one_ins *ins)
{
	static uint8_t value[BM_VALUE_MAX];
	struct broker_msg m;
	int fds[2] = { -1, -1 }, count = 2;
	ssize_t n = record_look(ins, &m, value, fds, &count);

	if (n <= 0 && n != -EMSGSIZE) {
		while (count)
			close(fds[--count]); /* an empty record is an end, and may carry some */
		return n != 0;
	}
	if (n == sizeof(m) && m.kind == BM_WORKER)
		worker_died(o->name, ins, &m);
	else if (n == sizeof(m) && m.kind == BM_UPGRADED)
		upgrade_serves(ins, o->name);
	else if (n == sizeof(m) && m.kind == BM_UPGRADE)
		upgrade_stays(ins, o->name);
	else if (n >= (ssize_t)sizeof(m) && m.kind == BM_OPTION)
		privilege_handle(ins, netns, &m, value, (uint32_t)((size_t)n - sizeof(m)), fds);
	else if (n >= (ssize_t)sizeof(m) && m.kind == BM_SET)
		share_set(ins->number, &m, value, (uint32_t)((size_t)n - sizeof(m)));
	else if (n == sizeof(m) && publish_handle(net, o, ins, &m, fds) < 0 && seldom_may(&ins->said, clock_ms()))
		fprintf(stderr, "mw: %s: the INS sent a record that makes no sense; ignored\n", o->name);
	if (n == sizeof(m) && (m.kind == BM_LISTEN || m.kind == BM_BOUND || m.kind == BM_CLOSED))
		entries_changed();
	for (int i = 0; i < count; i++)
		close(fds[i]);
	record_done(ins);
	return true;
}
