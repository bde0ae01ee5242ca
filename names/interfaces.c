// SPDX-License-Identifier: Apache-2.0
/*
 * interfaces.c - what libc says of interfaces and their addresses here, in the INS's network namespace, and netlink sockets of it.
 * Trust: as in lookup.c.
 *
 * A netlink socket belongs to the namespace that it was made in, and to who made it: us, who may change nothing.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/socket.h>

#include "names/names.h"

static struct names_text address(const struct sockaddr *sa)
{
	const struct sockaddr_ll *ll = (const struct sockaddr_ll *)(const void *)sa;
	size_t hardware = offsetof(struct sockaddr_ll, sll_addr);
	struct names_text t = { (const uint8_t *)sa, sizeof(*sa) };

	if (sa && sa->sa_family == AF_INET6)
		t.bytes = sizeof(struct sockaddr_in6);
	else if (sa && sa->sa_family == AF_PACKET)
		t.bytes = (uint32_t)(ll->sll_halen > 8 ? hardware + ll->sll_halen : sizeof(*ll));
	return t;
}

/* Three items each: see link/names.h. libc's results tell no lengths; families and the kernel's structs do. */
static void put_entry(struct names_out *out, const struct ifaddrs *i)
{
	bool is_link = i->ifa_addr && i->ifa_addr->sa_family == AF_PACKET;
	struct names_item item = { .n = { (int32_t)i->ifa_flags }, .a = address(i->ifa_addr), .b = names_text(i->ifa_name) };

	names_item_put(out, &item);
	item = (struct names_item){ .a = address(i->ifa_netmask), .b = address(i->ifa_ifu.ifu_broadaddr) };
	names_item_put(out, &item);
	item = (struct names_item){ .n = { 0 } };
	if (is_link && i->ifa_data)
		item.a = (struct names_text){ i->ifa_data, sizeof(struct rtnl_link_stats) };
	names_item_put(out, &item);
}

static int do_addresses(struct names_reply *r, struct names_out *out)
{
	struct ifaddrs *list = NULL;

	errno = 0;
	r->value = getifaddrs(&list);
	r->error = errno;
	names_reply_begin(out, r);
	for (const struct ifaddrs *i = r->value ? NULL : list; i; i = i->ifa_next)
		put_entry(out, i);
	if (!r->value)
		freeifaddrs(list);
	return names_reply_end(out);
}

static int do_list(struct names_reply *r, struct names_out *out)
{
	struct if_nameindex *list;

	errno = 0;
	list = if_nameindex();
	r->value = list ? 0 : -1;
	r->error = errno;
	names_reply_begin(out, r);
	for (const struct if_nameindex *i = list; i && i->if_index; i++) {
		struct names_item item = { .n = { (int32_t)i->if_index }, .b = names_text(i->if_name) };

		names_item_put(out, &item);
	}
	if (list)
		if_freenameindex(list);
	return names_reply_end(out);
}

static int do_index(const struct names_ask *ask, struct names_reply *r, struct names_out *out)
{
	if (!ask->a.at)
		return -EBADMSG;
	errno = 0;
	r->value = (int32_t)if_nametoindex((const char *)ask->a.at);
	r->error = errno;
	names_reply_begin(out, r);
	return names_reply_end(out);
}

static int do_name(const struct names_ask *ask, struct names_reply *r, struct names_out *out)
{
	char name[IF_NAMESIZE] = "";
	struct names_item item = { .n = { 0 } };

	errno = 0;
	r->value = if_indextoname((unsigned int)ask->n[0], name) ? 0 : -1;
	r->error = errno;
	item.b = names_text(name);
	names_reply_begin(out, r);
	names_item_put(out, &item);
	return names_reply_end(out);
}

static int do_socket(const struct names_ask *ask, struct names_reply *r, struct names_out *out, int *give)
{
	if (ask->n[0] != SOCK_RAW && ask->n[0] != SOCK_DGRAM)
		return -EBADMSG;
	*give = socket(AF_NETLINK, ask->n[0] | SOCK_CLOEXEC, NETLINK_ROUTE);
	r->value = *give < 0 ? -1 : 0;
	r->error = *give < 0 ? errno : 0;
	names_reply_begin(out, r);
	return names_reply_end(out);
}

int interfaces(const struct names_ask *ask, struct names_out *out, int *give)
{
	struct names_reply r = { .call = ask->call, .herror = NAMES_HERRNO_KEPT };

	switch (ask->call) {
	case NAMES_IF_ADDRESSES:
		return do_addresses(&r, out);
	case NAMES_IF_LIST:
		return do_list(&r, out);
	case NAMES_IF_INDEX:
		return do_index(ask, &r, out);
	case NAMES_IF_NAME:
		return do_name(ask, &r, out);
	default:
		return do_socket(ask, &r, out, give);
	}
}
