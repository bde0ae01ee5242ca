// SPDX-License-Identifier: Apache-2.0
/*
 * names.c - see names.h.
 * Trust: as in the header. Reading is one cursor: it never passes the end, and once bad stays so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "link/names.h"

#define HAS_CONF 1u
#define COUNT_AT 20 /* of a reply */

/* --- writing --- */

static void put(struct names_out *out, const void *from, size_t n)
{
	if (out->bad || n > NAMES_REPLY_MAX - out->bytes) {
		out->bad = true;
		return;
	}
	if (out->bytes + n > out->room) {
		size_t room = 2 * (out->bytes + n) + 256;
		uint8_t *more = realloc(out->at, room);

		if (!more) {
			out->bad = true;
			return;
		}
		out->at = more;
		out->room = room;
	}
	if (n)
		memcpy(out->at + out->bytes, from, n);
	out->bytes += n;
}

static void put_u32(struct names_out *out, uint32_t v)
{
	put(out, &v, sizeof(v));
}

static void put_text(struct names_out *out, struct names_text t)
{
	put_u32(out, t.at ? t.bytes + 1 : 0);
	if (!t.at)
		return;
	put(out, t.at, t.bytes);
	put(out, "", 1);
}

static int finish(struct names_out *out, size_t max)
{
	uint32_t bytes = (uint32_t)out->bytes;

	if (out->bad || out->bytes > max)
		return -EMSGSIZE;
	memcpy(out->at, &bytes, sizeof(bytes));
	return 0;
}

struct names_text names_text(const char *s)
{
	struct names_text t = { (const uint8_t *)s, s ? (uint32_t)strnlen(s, NAMES_REPLY_MAX) : 0 };

	return t;
}

int names_ask_put(struct names_out *out, const struct names_ask *ask)
{
	*out = (struct names_out){ 0 };
	put_u32(out, 0);
	put_u32(out, ask->call);
	put_u32(out, ask->has_conf ? HAS_CONF : 0);
	put(out, ask->n, sizeof(ask->n));
	if (ask->has_conf)
		put(out, &ask->conf, sizeof(ask->conf));
	put_text(out, ask->a);
	put_text(out, ask->b);
	put_text(out, ask->data);
	return finish(out, NAMES_ASK_MAX);
}

void names_reply_begin(struct names_out *out, const struct names_reply *r)
{
	*out = (struct names_out){ 0 };
	put_u32(out, 0);
	put_u32(out, r->call);
	put_u32(out, (uint32_t)r->value);
	put_u32(out, (uint32_t)r->error);
	put_u32(out, (uint32_t)r->herror);
	put_u32(out, 0);
}

void names_item_put(struct names_out *out, const struct names_item *item)
{
	uint32_t count;

	put(out, item->n, sizeof(item->n));
	put_text(out, item->a);
	put_text(out, item->b);
	if (out->bad)
		return;
	memcpy(&count, out->at + COUNT_AT, sizeof(count));
	count++;
	memcpy(out->at + COUNT_AT, &count, sizeof(count));
}

int names_reply_end(struct names_out *out)
{
	return finish(out, NAMES_REPLY_MAX);
}

/* --- reading --- */

struct cursor {
	const uint8_t *at, *end;
	bool bad;
};

static void get(struct cursor *c, void *to, size_t n)
{
	if (c->bad || (size_t)(c->end - c->at) < n) {
		c->bad = true;
		memset(to, 0, n);
		return;
	}
	memcpy(to, c->at, n);
	c->at += n;
}

static uint32_t get_u32(struct cursor *c)
{
	uint32_t v;

	get(c, &v, sizeof(v));
	return v;
}

static struct names_text get_text(struct cursor *c)
{
	struct names_text t = { NULL, 0 };
	uint32_t n = get_u32(c);

	if (c->bad || !n)
		return t;
	if ((size_t)(c->end - c->at) < n || c->at[n - 1]) {
		c->bad = true;
		return t;
	}
	t.at = c->at;
	t.bytes = n - 1;
	c->at += n;
	return t;
}

size_t names_bytes(const uint8_t head[4], size_t max)
{
	uint32_t bytes;

	memcpy(&bytes, head, sizeof(bytes));
	return bytes < sizeof(bytes) || bytes > max ? 0 : bytes;
}

static bool conf_ok(const struct names_conf *c)
{
	if (c->servers > NAMES_SERVERS_MAX || c->search_bytes > NAMES_SEARCH_MAX || c->ndots > 15)
		return false;
	for (uint32_t i = 0; i < c->servers; i++)
		if ((c->server[i].family != AF_INET && c->server[i].family != AF_INET6) || c->server[i].zero)
			return false;
	return !c->search_bytes || !c->search[c->search_bytes - 1];
}

/* Names are C strings: nothing may hide behind a NUL in the middle. */
static bool is_string(struct names_text t)
{
	return !t.at || !memchr(t.at, 0, t.bytes);
}

int names_ask_get(struct names_ask *ask, const uint8_t *from, size_t bytes)
{
	struct cursor c = { from, from + bytes, bytes > NAMES_ASK_MAX };
	uint32_t flags;

	memset(ask, 0, sizeof(*ask));
	c.bad |= get_u32(&c) != bytes;
	ask->call = get_u32(&c);
	flags = get_u32(&c);
	get(&c, ask->n, sizeof(ask->n));
	ask->has_conf = flags & HAS_CONF;
	if (ask->has_conf)
		get(&c, &ask->conf, sizeof(ask->conf));
	ask->a = get_text(&c);
	ask->b = get_text(&c);
	ask->data = get_text(&c);
	if (c.bad || c.at != c.end || flags > HAS_CONF || ask->call < NAMES_ADDRINFO || ask->call >= NAMES_CALLS ||
	    !conf_ok(&ask->conf) || !is_string(ask->a) || !is_string(ask->b))
		return -EBADMSG;
	return 0;
}

static struct names_item get_item(struct cursor *c)
{
	struct names_item item;

	get(c, item.n, sizeof(item.n));
	item.a = get_text(c);
	item.b = get_text(c);
	return item;
}

int names_reply_get(struct names_reply *r, const uint8_t *from, size_t bytes)
{
	struct cursor c = { from, from + bytes, bytes > NAMES_REPLY_MAX };
	uint32_t count = 0;

	c.bad |= get_u32(&c) != bytes;
	r->call = get_u32(&c);
	r->value = (int32_t)get_u32(&c);
	r->error = (int32_t)get_u32(&c);
	r->herror = (int32_t)get_u32(&c);
	r->count = get_u32(&c);
	r->at = c.at;
	r->end = c.end;
	while (!c.bad && c.at != c.end) {
		get_item(&c);
		count++;
	}
	return c.bad || count != r->count ? -EBADMSG : 0;
}

bool names_item_get(struct names_reply *r, struct names_item *item)
{
	struct cursor c = { r->at, r->end, false };

	if (r->at == r->end)
		return false;
	*item = get_item(&c);
	r->at = c.at;
	return !c.bad;
}
