// SPDX-License-Identifier: Apache-2.0
/*
 * stream.c - see stream.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "telem/stream.h"

static struct stream *soon; /* to be flushed */
static struct timer flusher;

static void not_soon(struct stream *s)
{
	struct stream **at = &soon;

	if (!s->soon)
		return;
	while (*at != s)
		at = &(*at)->next_soon;
	*at = s->next_soon;
	s->soon = false;
}

static void discard(struct stream *s)
{
	not_soon(s);
	free(s->in);
	free(s->out);
	free(s);
}

void stream_end(struct stream *s)
{
	if (!s->gone) {
		s->gone = true;
		s->kind->end(s);
		loop_remove(&s->w);
		close(s->w.fd);
	}
	if (!s->held)
		discard(s);
}

void stream_hold(struct stream *s)
{
	s->held++;
}

void stream_release(struct stream *s)
{
	s->held--;
	if (s->gone && !s->held)
		discard(s);
}

size_t stream_room(const struct stream *s)
{
	return s->gone ? 0 : s->kind->out_max - s->out_bytes;
}

bool stream_put(struct stream *s, const void *bytes, size_t n)
{
	if (n > stream_room(s))
		return false;
	memcpy(s->out + s->out_bytes, bytes, n);
	s->out_bytes += n;
	return true;
}

static size_t next_write(const struct stream *s, const char *out, size_t n)
{
	return s->begun ? s->begun : s->whole ? s->whole(s, out, n) : n;
}

/* Each write ends a record, so that TCP never joins one with the next in a segment (and then cuts them elsewhere). */
static size_t send_all(struct stream *s)
{
	size_t sent = 0;

	while (sent < s->out_bytes) {
		size_t n = next_write(s, s->out + sent, s->out_bytes - sent);
		ssize_t took = send(s->w.fd, s->out + sent, n, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR);

		if (took <= 0)
			break;
		sent += (size_t)took;
		s->begun = n - (size_t)took;
	}
	return sent;
}

static void wait_for(struct stream *s, uint32_t events)
{
	if (events == s->events)
		return;
	s->events = events;
	loop_change(&s->w, events);
}

void stream_flush(struct stream *s)
{
	size_t sent = s->gone ? 0 : send_all(s);

	if (s->gone)
		return;
	s->out_bytes -= sent;
	memmove(s->out, s->out + sent, s->out_bytes);
	wait_for(s, (s->paused ? 0 : EPOLLIN | EPOLLRDHUP) | (s->out_bytes ? EPOLLOUT : 0));
}

void stream_pause(struct stream *s)
{
	s->paused = true;
}

/* False when the connection is to end. */
static bool take(struct stream *s)
{
	long taken = s->kind->input(s, s->in, s->in_bytes);

	if (taken < 0)
		return false;
	s->in_bytes -= (size_t)taken;
	memmove(s->in, s->in + taken, s->in_bytes);
	return s->paused || s->in_bytes < s->kind->in_max;
}

void stream_resume(struct stream *s)
{
	s->paused = false;
	stream_hold(s);
	if (!s->gone && take(s))
		stream_flush(s);
	else
		stream_end(s);
	stream_release(s);
}

static void flush(struct stream *s)
{
	stream_flush(s);
	stream_hold(s); /* it may end when it resumes */
	if (s->paused && s->kind->flushed)
		s->kind->flushed(s);
	stream_release(s);
}

static void on_flush(struct timer *t)
{
	(void)t;
	while (soon) {
		struct stream *s = soon;

		not_soon(s);
		flush(s);
	}
}

void stream_flush_soon(struct stream *s)
{
	if (s->gone || s->soon)
		return;
	s->soon = true;
	s->next_soon = soon;
	soon = s;
	flusher.fn = on_flush;
	if (!flusher.due_ns)
		loop_timer(&flusher, 0);
}

static void on_event(struct watch *w, uint32_t events)
{
	struct stream *s = (struct stream *)(void *)w;
	ssize_t n;
	bool good;

	if (s->paused && !(events & (EPOLLHUP | EPOLLERR))) {
		flush(s);
		return;
	}
	n = recv(w->fd, s->in + s->in_bytes, s->kind->in_max - s->in_bytes, MSG_DONTWAIT);
	good = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR) && !(events & (EPOLLHUP | EPOLLERR)));

	stream_hold(s); /* an answer may find that it is gone */
	if (n > 0) {
		s->in_bytes += (size_t)n;
		good = take(s);
	}
	if (good)
		flush(s);
	else
		stream_end(s);
	stream_release(s);
}

struct stream *stream_accept(int listener, size_t bytes, const struct stream_kind *kind)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct stream *s;

	if (fd < 0)
		return NULL;
	s = calloc(1, bytes);
	if (s) {
		s->w = (struct watch){ fd, on_event };
		s->kind = kind;
		s->events = EPOLLIN | EPOLLRDHUP;
		s->in = malloc(kind->in_max);
		s->out = malloc(kind->out_max);
	}
	if (s && s->in && s->out && loop_add(&s->w, s->events) == 0)
		return s;
	close(fd);
	if (s)
		discard(s);
	return NULL;
}
