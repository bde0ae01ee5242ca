/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.h - a client's connection: whole requests in, answers and events out, nobody waited for. Used inside telem/.
 * Trust: a client may send anything, in any pieces, and read nothing. It costs its own two buffers.
 */
#ifndef MW_TELEM_STREAM_H
#define MW_TELEM_STREAM_H

#include "telem/telem.h"

struct stream;
struct stream_kind {
	size_t in_max, out_max;   /* bytes */
	/* Takes whole requests from `in`: how many bytes it took, or -1 to end the connection. */
	long (*input)(struct stream *s, const char *in, size_t n);
	void (*end)(struct stream *s); /* it is gone: s is freed next */
	void (*flushed)(struct stream *s); /* paused, and some of `out` may have gone; it may resume. NULL: nothing to do */
};

/* First member of a client's own struct. */
struct stream {
	struct watch w;
	const struct stream_kind *kind;
	uint32_t held;            /* answers of others that are still to come */
	bool gone;
	bool paused;              /* no input is taken */
	bool soon;                /* is to be flushed */
	uint32_t events;          /* EPOLL: those that are waited for */
	struct stream *next_soon;
	/* For a format whose messages no write may split: bytes of whole messages at `out`, of n, that make one write. NULL: all */
	size_t (*whole)(const struct stream *s, const char *out, size_t n);
	size_t in_bytes, out_bytes;
	size_t begun;             /* of out: the rest of a write that the socket took in part */
	char *in, *out;
};

/* Takes the next connection of a listener as a stream of `bytes` (the client's struct, zeroed). NULL: none, or no room. */
struct stream *stream_accept(int listener, size_t bytes, const struct stream_kind *kind);

/* False when there is no room for all of it. It goes out with the next flush. */
bool stream_put(struct stream *s, const void *bytes, size_t n);
size_t stream_room(const struct stream *s);
void stream_flush(struct stream *s);
void stream_flush_soon(struct stream *s); /* with what else is put meanwhile, at the end of the loop's round */

/* No more input is taken, so that `in` may be full; then what is there, and more. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/* Ends it. While it is held it stays in memory, `gone`. */
void stream_end(struct stream *s);
void stream_hold(struct stream *s);
void stream_release(struct stream *s);

#endif
