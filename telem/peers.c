// SPDX-License-Identifier: Apache-2.0
/*
 * peers.c - see peers.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "link/owner.h"
#include "telem/metric.h"
#include "telem/netflow.h"
#include "telem/peers.h"
#include "telem/telem.h"

#define TEXT_BYTES (256u << 10) /* of one INS; a pipe of the broker's has room for as much */

static const char eof[] = "# EOF\n";

struct peer {
	struct watch w;
	struct peer *next;
	char *text;
	size_t bytes;
	bool whole;
};

static struct peer *peers, *coming; /* of the last time, and of this one */
static uint32_t reading;            /* of those that come */
static bool asking;                 /* the broker has not told of all yet */
static void (*told)(void);          /* NULL: nobody waits */

/* --- theirs --- */

static void stop(struct peer *p)
{
	if (p->w.fd < 0)
		return;
	loop_remove(&p->w);
	close(p->w.fd);
	p->w.fd = -1;
	reading--;
}

static void forget(struct peer **list)
{
	while (*list) {
		struct peer *p = *list;

		*list = p->next;
		stop(p);
		free(p->text);
		free(p);
	}
}

void peers_settle(void)
{
	if (!told)
		return;
	told = NULL;
	for (struct peer *p = coming; p; p = p->next)
		stop(p);
	forget(&peers);
	peers = coming;
	coming = NULL;
}

static void look_if_all(void)
{
	void (*fn)(void) = told;

	if (reading || asking || !fn)
		return;
	peers_settle();
	fn();
}

static bool has_end(const struct peer *p)
{
	size_t n = sizeof(eof) - 1;

	return p->bytes >= n && !memcmp(p->text + p->bytes - n, eof, n);
}

static void on_pipe(struct watch *w, uint32_t events)
{
	struct peer *p = (struct peer *)(void *)w;
	ssize_t n = read(w->fd, p->text + p->bytes, TEXT_BYTES - p->bytes);

	(void)events;
	if (n > 0) {
		p->bytes += (size_t)n;
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	p->text[p->bytes] = 0;
	p->whole = has_end(p) && strlen(p->text) == p->bytes;
	stop(p);
	look_if_all();
}

void peers_pipe(int fd)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (!told || !p || !(p->text = malloc(TEXT_BYTES + 1))) {
		free(p);
		close(fd);
		return;
	}
	p->w = (struct watch){ fd, on_pipe };
	p->next = coming;
	coming = p;
	reading++;
	if (loop_add(&p->w, EPOLLIN) < 0)
		stop(p);
}

static void asked_all(void *arg, int32_t status)
{
	(void)arg;
	(void)status;
	asking = false;
	look_if_all();
}

void peers_ask(void (*fn)(void))
{
	told = fn;
	if (asking)
		return; /* the broker has not answered for the last time yet */
	asking = true;
	owner_asks(OWNER_METRICS, 0, asked_all, NULL);
}

/* Where a family's samples begin, and end. NULL: it has none. */
static const char *samples_of(const struct peer *p, const char *family, const char **end)
{
	static const char head[] = "# HELP ";
	size_t n = strlen(family);

	for (const char *at = p->text; (at = strstr(at, head)); at++) {
		if (strncmp(at + sizeof(head) - 1, family, n) != 0 || at[sizeof(head) - 1 + n] != ' ')
			continue;
		for (int lines = 0; at && lines < 2; lines++) /* HELP and TYPE; it may end before */
			at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
		*end = at ? strstr(at, "\n#") : NULL;
		return *end && *at != '#' ? at : NULL;
	}
	return NULL;
}

void peers_samples(FILE *out, const char *family)
{
	for (const struct peer *p = peers; p; p = p->next) {
		const char *end = NULL, *at = p->whole ? samples_of(p, family, &end) : NULL;

		if (at)
			fwrite(at, 1, (size_t)(end + 1 - at), out);
	}
}

/* --- ours --- */

static void on_fresh(void *arg, bool fresh)
{
	int fd = *(int *)arg;
	struct metric_text t = { .alone = true };
	char *text = NULL;
	size_t bytes = 0;

	(void)fresh;
	free(arg);
	t.out = open_memstream(&text, &bytes);
	if (t.out) {
		metric_write(&t);
		fputs(eof, t.out);
		if (fclose(t.out) == 0 && bytes <= TEXT_BYTES && write(fd, text, bytes) < 0)
			errno = 0; /* nobody reads any more */
	}
	free(text);
	close(fd);
}

void peers_write(int fd)
{
	int *arg = malloc(sizeof(*arg));

	if (!arg) {
		close(fd);
		return;
	}
	*arg = fd;
	sample_fresh(on_fresh, arg);
}
