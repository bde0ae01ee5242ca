// SPDX-License-Identifier: Apache-2.0
/*
 * interfaces.c - getifaddrs and its kin, asked of the resolver process: the interfaces of the INS's network.
 * Trust: as in names.h. Results are made of the heap's blocks in the very form that libc's freeifaddrs and if_freenameindex take
 * apart: one block for all entries; one for the array, and one for each name.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/names.h"

#define ALIGN 8u

/* An errno of the other side, or of names_ask. */
static int fail(int error)
{
	errno = error > 0 && error < 4096 ? error : EIO;
	return -1;
}

/* 0; -1 with errno; 1: libc's own function answers, as its socket is of the right network. */
static int ask_for(struct names_ask *ask, struct names_answer *answer)
{
	int r = names_ask(ask, answer);

	if (r < 0)
		return r == -ENONET ? 1 : fail(-r);
	if (answer->r.value >= 0)
		return 0;
	free(answer->record);
	return fail(answer->r.error);
}

/* --- getifaddrs --- */

static bool address_ok(struct names_text t)
{
	return !t.at || (t.bytes >= sizeof(struct sockaddr) && t.bytes <= sizeof(struct sockaddr_storage));
}

/* Bytes of a text in the block, with a NUL behind it. */
static size_t room(struct names_text t)
{
	return t.at ? (t.bytes + 1 + ALIGN - 1) & ~(size_t)(ALIGN - 1) : 0;
}

/* The three items of one entry. */
static bool next_entry(struct names_reply *r, struct names_item item[3])
{
	for (int i = 0; i < 3; i++)
		if (!names_item_get(r, &item[i]))
			return false;
	return item[0].b.at && address_ok(item[0].a) && address_ok(item[1].a) && address_ok(item[1].b);
}

static void *put(char **at, struct names_text t)
{
	char *to = *at;

	if (!t.at)
		return NULL;
	memcpy(to, t.at, t.bytes + 1);
	*at += room(t);
	return to;
}

static int make_addresses(struct names_reply r, struct ifaddrs **list)
{
	struct names_reply again = r;
	struct names_item item[3];
	size_t count = r.count / 3, bytes = count * sizeof(struct ifaddrs);
	struct ifaddrs *first;
	char *at;

	if (r.count % 3)
		return EIO;
	for (size_t i = 0; i < count; i++) {
		if (!next_entry(&r, item))
			return EIO;
		bytes += room(item[0].a) + room(item[0].b) + room(item[1].a) + room(item[1].b) + room(item[2].a);
	}
	*list = NULL;
	if (!count)
		return 0;
	first = calloc(1, bytes);
	if (!first)
		return ENOMEM;
	at = (char *)(first + count);
	for (size_t i = 0; i < count && next_entry(&again, item); i++) {
		first[i].ifa_next = i + 1 < count ? &first[i + 1] : NULL;
		first[i].ifa_flags = (unsigned int)item[0].n[0];
		first[i].ifa_addr = put(&at, item[0].a);
		first[i].ifa_name = put(&at, item[0].b);
		first[i].ifa_netmask = put(&at, item[1].a);
		first[i].ifa_ifu.ifu_broadaddr = put(&at, item[1].b);
		first[i].ifa_data = put(&at, item[2].a);
	}
	*list = first;
	return 0;
}

EXPORT int getifaddrs(struct ifaddrs **list)
{
	struct names_ask ask = { .call = NAMES_IF_ADDRESSES };
	struct names_answer answer;
	int r = ask_for(&ask, &answer);

	if (r)
		return r < 0 ? r : libc()->getifaddrs(list);
	r = make_addresses(answer.r, list);
	free(answer.record);
	return r ? fail(r) : 0;
}

/* --- names and numbers --- */

EXPORT unsigned int if_nametoindex(const char *name)
{
	struct names_ask ask = { .call = NAMES_IF_INDEX, .a = names_text(name) };
	struct names_answer answer;
	int r = ask_for(&ask, &answer);

	if (r)
		return r < 0 ? 0 : libc()->if_nametoindex(name);
	if (!answer.r.value)
		fail(answer.r.error);
	free(answer.record);
	return (unsigned int)answer.r.value;
}

EXPORT char *if_indextoname(unsigned int index, char name[IF_NAMESIZE])
{
	struct names_ask ask = { .call = NAMES_IF_NAME, .n = { (int32_t)index } };
	struct names_answer answer;
	struct names_item item;
	int r = ask_for(&ask, &answer);

	if (r)
		return r < 0 ? NULL : libc()->if_indextoname(index, name);
	if (!names_item_get(&answer.r, &item) || !item.b.at || item.b.bytes >= IF_NAMESIZE)
		r = fail(EIO);
	else
		memcpy(name, item.b.at, item.b.bytes + 1);
	free(answer.record);
	return r ? NULL : name;
}

EXPORT struct if_nameindex *if_nameindex(void)
{
	struct names_ask ask = { .call = NAMES_IF_LIST };
	struct names_answer answer;
	struct names_item item;
	struct if_nameindex *list;
	size_t n = 0;
	int r = ask_for(&ask, &answer);

	if (r)
		return r < 0 ? NULL : libc()->if_nameindex();
	list = calloc((size_t)answer.r.count + 1, sizeof(*list));
	while (list && names_item_get(&answer.r, &item)) {
		if (!item.b.at || !item.n[0])
			continue;
		list[n].if_index = (unsigned int)item.n[0];
		list[n].if_name = strdup((const char *)item.b.at);
		if (!list[n++].if_name) {
			if_freenameindex(list); /* NOLINT(clang-analyzer-unix.MismatchedDeallocator): it frees what ours has made */
			list = NULL;
		}
	}
	free(answer.record);
	if (!list)
		fail(ENOMEM);
	return list;
}
