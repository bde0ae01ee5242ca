// SPDX-License-Identifier: Apache-2.0
/*
 * peers_fuzz.c - libFuzzer target: whatever the telemetries of other INSs write as their metrics.
 * Trust: none. A byte of 1 ends one's text. What is passed on is whole lines of samples, of those that had written all.
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "telem/metric.h"
#include "telem/owner.h"
#include "telem/peers.h"
#include "telem/telem.h"
#include "test/fuzz/input.h"

static struct watch *coming;
static owner_done *asked;
static bool all;

/* --- what mw-telem has beside it --- */

int loop_add(struct watch *w, uint32_t events)
{
	must(events == EPOLLIN);
	coming = w;
	return 0;
}

void loop_remove(struct watch *w)
{
	must(w == coming);
	coming = NULL;
}

void owner_asks(uint32_t kind, uint32_t pid, owner_done *fn, void *arg)
{
	must(kind && !pid && !arg);
	asked = fn;
}

void sample_fresh(sample_answer *fn, void *arg)
{
	fn(arg, true);
}

void metric_write(struct metric_text *t)
{
	fputs("# HELP mw_sockets Sockets.\n# TYPE mw_sockets gauge\nmw_sockets 1\n", t->out);
}

/* --- the target --- */

static void told_all(void)
{
	all = true;
}

static void one_comes(const uint8_t *text, size_t n)
{
	int ends[2];

	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0 && write(ends[1], text, n) == (ssize_t)n);
	close(ends[1]);
	peers_pipe(ends[0]);
	while (coming)
		coming->fn(coming, EPOLLIN);
}

/* Another is asked for ours, and we are that one. */
static void own_comes(void)
{
	int ends[2];

	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	peers_write(ends[1]);
	peers_pipe(ends[0]);
	while (coming)
		coming->fn(coming, EPOLLIN);
}

static void look(const char *family, size_t least)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	must(out != NULL);
	peers_samples(out, family);
	fclose(out);
	must(bytes >= least && (!bytes || text[bytes - 1] == '\n'));
	must(text[0] != '#' && !strstr(text, "\n#"));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *end = data + n, *at = data, *to;

	all = false;
	peers_ask(told_all);
	own_comes();
	for (; at < end; at = to + 1) {
		to = memchr(at, 1, (size_t)(end - at));
		to = to ? to : end;
		one_comes(at, (size_t)(to - at));
	}
	must(!all);
	asked(NULL, 0);
	must(all);
	look("mw_sockets", strlen("mw_sockets 1\n"));
	look("mw_events", 0);
	peers_ask(told_all); /* and what was there is freed */
	asked(NULL, 0);
	return 0;
}
