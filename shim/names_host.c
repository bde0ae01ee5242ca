// SPDX-License-Identifier: Apache-2.0
/*
 * names_host.c - gethostbyname and its kin, asked of the resolver process.
 * Trust: as in names.h; addresses must have the length that the answer says they have.
 *
 * The forms without _r share one block, as libc's do: the next call overwrites it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shim/interpose.h"
#include "shim/names.h"

#define ADDR_MAX 16

/* The caller's block, cut from the front. */
struct block {
	char *at;
	size_t left;
};

static void *cut(struct block *b, size_t n, size_t align)
{
	size_t skip = -(size_t)b->at & (align - 1);
	char *at;

	if (b->left < skip || b->left - skip < n)
		return NULL;
	at = b->at + skip;
	b->at = at + n;
	b->left -= skip + n;
	return at;
}

static char *cut_text(struct block *b, struct names_text t)
{
	char *at = t.at ? cut(b, t.bytes + 1, 1) : NULL;

	return at ? memcpy(at, t.at, t.bytes + 1) : NULL;
}

/* The two lists: how long each is. -EBADMSG for what is no host. */
static int count(struct names_reply r, size_t n[2], struct names_item *name)
{
	struct names_item item;

	if (!names_item_get(&r, name) || !name->b.at || name->n[1] < 0 || name->n[1] > ADDR_MAX)
		return -EBADMSG;
	n[0] = n[1] = 1; /* the NULL at the end */
	while (names_item_get(&r, &item)) {
		bool addr = item.n[0] == 1;

		if (addr ? !item.a.at || item.a.bytes != (uint32_t)name->n[1] : !item.b.at)
			return -EBADMSG;
		n[addr]++;
	}
	return 0;
}

/* 0, ERANGE or EBADMSG. */
static int pack(struct names_reply r, struct hostent *h, struct block b)
{
	struct names_item name, item;
	char **list[2];
	size_t n[2];

	if (count(r, n, &name) < 0)
		return EBADMSG;
	for (int i = 0; i < 2; i++) {
		list[i] = cut(&b, n[i] * sizeof(char *), sizeof(char *));
		if (!list[i])
			return ERANGE;
		memset(list[i], 0, n[i] * sizeof(char *));
	}
	h->h_addrtype = name.n[0];
	h->h_length = name.n[1];
	h->h_aliases = list[0];
	h->h_addr_list = list[1];
	h->h_name = cut_text(&b, name.b);
	names_item_get(&r, &item); /* the name */
	while (h->h_name && names_item_get(&r, &item)) {
		bool addr = item.n[0] == 1;
		char *at = addr ? cut(&b, ADDR_MAX, sizeof(uint32_t)) : cut_text(&b, item.b);

		if (!at)
			return ERANGE;
		if (addr)
			memcpy(at, item.a.at, item.a.bytes);
		*list[addr]++ = at;
	}
	return h->h_name ? 0 : ERANGE;
}

/* 0 with or without a host, or an errno that is in *herror too: as the _r functions of libc. */
static int ask_host(struct names_ask *ask, struct names_answer *answer, int *herror)
{
	int r;

	names_conf_of(ask, &_res);
	r = names_lookup(ask, answer);
	if (r < 0) {
		*herror = r == -EAGAIN ? TRY_AGAIN : NETDB_INTERNAL;
		errno = -r;
		return -r;
	}
	if (answer->r.herror != NAMES_HERRNO_KEPT)
		*herror = answer->r.herror;
	if ((answer->r.value || !answer->r.count) && answer->r.error)
		errno = answer->r.error;
	return answer->r.value < 0 ? EBADMSG : answer->r.value;
}

static int host_r(struct names_ask *ask, struct hostent *h, char *room, size_t bytes, struct hostent **found, int *herror)
{
	struct names_answer answer;
	int r;

	ask->n[0] = bytes > NAMES_REPLY_MAX ? NAMES_REPLY_MAX : (int)bytes;
	r = ask_host(ask, &answer, herror);
	*found = NULL;
	if (r == 0 && answer.r.count) {
		r = pack(answer.r, h, (struct block){ room, bytes });
		*found = r ? NULL : h;
		if (r) {
			*herror = NETDB_INTERNAL;
			errno = r;
		}
	}
	free(answer.record);
	return r;
}

static struct hostent *host(struct names_ask *ask)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct hostent result;
	static char *room;
	static size_t bytes;
	struct names_answer answer;
	struct hostent *found = NULL;
	int herror = NAMES_HERRNO_KEPT, r = ask_host(ask, &answer, &herror);

	pthread_mutex_lock(&lock);
	if (r == 0 && answer.r.count)
		r = pack(answer.r, &result, (struct block){ room, bytes });
	if (r == ERANGE) {
		size_t more = NAMES_REPLY_MAX < 4 * (size_t)(answer.r.end - answer.r.at) + 4096
				      ? NAMES_REPLY_MAX
				      : 4 * (size_t)(answer.r.end - answer.r.at) + 4096;
		char *grown = realloc(room, more);

		if (grown) {
			room = grown;
			bytes = more;
			r = pack(answer.r, &result, (struct block){ room, bytes });
		}
	}
	if (r == 0 && answer.r.count)
		found = &result;
	pthread_mutex_unlock(&lock);
	if (!found && herror == NAMES_HERRNO_KEPT)
		herror = NETDB_INTERNAL;
	if (herror != NAMES_HERRNO_KEPT && herror != NETDB_SUCCESS)
		h_errno = herror;
	free(answer.record);
	return found;
}

static struct names_ask by_name(const char *name, int family)
{
	return (struct names_ask){ .call = NAMES_BYNAME, .n = { -1, family }, .a = names_text(name) };
}

static struct names_ask by_addr(const void *addr, socklen_t len, int type)
{
	struct names_ask ask = { .call = NAMES_BYADDR, .n = { -1, type, len > ADDR_MAX ? ADDR_MAX + 1 : (int)len } };

	ask.data.at = addr;
	ask.data.bytes = len > ADDR_MAX ? ADDR_MAX : len;
	return ask;
}

EXPORT struct hostent *gethostbyname(const char *name)
{
	struct names_ask ask = by_name(name, -1);

	return host(&ask);
}

EXPORT struct hostent *gethostbyname2(const char *name, int family)
{
	struct names_ask ask = by_name(name, family);

	return host(&ask);
}

EXPORT struct hostent *gethostbyaddr(const void *addr, socklen_t len, int type)
{
	struct names_ask ask = by_addr(addr, len, type);

	return host(&ask);
}

EXPORT int gethostbyname_r(const char *restrict name, struct hostent *restrict h, char *restrict room, size_t bytes,
			   struct hostent **restrict found, int *restrict herror)
{
	struct names_ask ask = by_name(name, -1);

	return host_r(&ask, h, room, bytes, found, herror);
}

EXPORT int gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict h, char *restrict room,
			    size_t bytes, struct hostent **restrict found, int *restrict herror)
{
	struct names_ask ask = by_name(name, family);

	return host_r(&ask, h, room, bytes, found, herror);
}

EXPORT int gethostbyaddr_r(const void *restrict addr, socklen_t len, int type, struct hostent *restrict h,
			   char *restrict room, size_t bytes, struct hostent **restrict found, int *restrict herror)
{
	struct names_ask ask = by_addr(addr, len, type);

	return host_r(&ask, h, room, bytes, found, herror);
}
