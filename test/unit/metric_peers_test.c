/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telem/peers.c: what of other INSs' metrics is passed on, whatever their telemetry writes.
 * Trust: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "telem/metric.h"
#include "telem/owner.h"
#include "telem/peers.h"
#include "telem/telem.h"

static struct watch *pipe_watch;
static owner_done *asked;
static int told;

/* --- what is around it --- */

int loop_add(struct watch *w, uint32_t events)
{
	(void)events;
	pipe_watch = w;
	return 0;
}

void loop_remove(struct watch *w)
{
	(void)w;
}

void owner_asks(uint32_t kind, uint32_t pid, owner_done *fn, void *arg)
{
	(void)kind, (void)pid, (void)arg;
	asked = fn;
}

void sample_fresh(sample_answer *fn, void *arg)
{
	fn(arg, true);
}

void metric_write(struct metric_text *t)
{
	fputs("# HELP x t\n# TYPE x gauge\nx 1\n", t->out);
}

static void on_told(void)
{
	told++;
}

/* --- */

static void write_to(int fd, const char *text, size_t bytes)
{
	assert_int_equal(write(fd, text, bytes), bytes);
	close(fd);
}

/* Another's telemetry writes that; then of the family there is this. */
static void gives(const char *written, size_t bytes, const char *family, const char *wanted)
{
	char *text;
	size_t n;
	FILE *out;
	int p[2];

	told = 0;
	peers_ask(on_told);
	assert_int_equal(pipe(p), 0);
	peers_pipe(p[0]);
	write_to(p[1], written, bytes);
	while (pipe_watch->fd >= 0)
		pipe_watch->fn(pipe_watch, EPOLLIN);
	assert_int_equal(told, 0);
	asked(NULL, 0);
	assert_int_equal(told, 1);
	out = open_memstream(&text, &n);
	peers_samples(out, family);
	fclose(out);
	assert_string_equal(text, wanted);
	free(text);
}

static void passes_on(void **state)
{
	static const char good[] = "# HELP x_total T.\n# TYPE x_total counter\nx_total{a} 1\nx_total{b} 2\n"
				   "# HELP xy T.\n# TYPE xy gauge\nxy 3\n# HELP z T.\n# TYPE z gauge\n# EOF\n";

	(void)state;
	gives(good, sizeof(good) - 1, "x_total", "x_total{a} 1\nx_total{b} 2\n");
	gives(good, sizeof(good) - 1, "xy", "xy 3\n");
	gives(good, sizeof(good) - 1, "x", "");
	gives(good, sizeof(good) - 1, "z", "");
	gives(good, sizeof(good) - 7, "xy", ""); /* cut off */
}

static void lies(void **state)
{
	static const char *const texts[] = { "", "# EOF\n", "# HELP x # EOF\n", "# HELP x t\n# EOF\n", "# HELP x t\n# TYPE x gauge# EOF\n",
					     "# HELP x t\n\n# EOF\n" };
	static const char zero[] = "# HELP x t\n# TYPE x gauge\nx 1\n\0\n# EOF\n";

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		gives(texts[i], strlen(texts[i]), "x", "");
	gives(zero, sizeof(zero) - 1, "x", "");
}

/* Ours goes to who asks, whole. */
static void writes(void **state)
{
	static const char wanted[] = "# HELP x t\n# TYPE x gauge\nx 1\n# EOF\n";
	char text[100];
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	peers_write(p[1]);
	assert_int_equal(read(p[0], text, sizeof(text)), sizeof(wanted) - 1);
	assert_memory_equal(text, wanted, sizeof(wanted) - 1);
	assert_int_equal(read(p[0], text, sizeof(text)), 0);
	close(p[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_on),
		cmocka_unit_test(lies),
		cmocka_unit_test(writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
