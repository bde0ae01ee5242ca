// SPDX-License-Identifier: GPL-2.0
/*
 * addr.c - addresses: the caller's, the channel's, and those that an INS says a socket has.
 * Trust: a caller's is checked by its length and family; an INS's is copied, and checked by msg_addr_ok().
 */
#include <linux/in.h>
#include <linux/in6.h>
#include <net/ipv6.h>

#include "chan/msg.h"
#include "kmod/addr.h"
#include "kmod/end.h"

int mwk_addr_take(struct mw_addr *a, const void *sa, int len)
{
	const struct sockaddr_in *in = sa;
	const struct sockaddr_in6 *in6 = sa;
	u16 family = *(const u16 *)sa;

	memset(a, 0, sizeof(*a));
	if (len < (int)sizeof(family))
		return -EINVAL;
	switch (family) {
	case AF_UNSPEC:
		return 0;
	case AF_INET:
		if (len < (int)sizeof(*in))
			return -EINVAL;
		a->family = MW_FAMILY_IP4;
		a->port = ntohs(in->sin_port);
		memcpy(a->addr, &in->sin_addr, 4);
		return 0;
	case AF_INET6:
		if (len < SIN6_LEN_RFC2133)
			return -EINVAL;
		a->family = MW_FAMILY_IP6;
		a->port = ntohs(in6->sin6_port);
		a->flowinfo = ntohl(in6->sin6_flowinfo);
		a->scope_id = len >= (int)sizeof(*in6) ? in6->sin6_scope_id : 0;
		memcpy(a->addr, &in6->sin6_addr, 16);
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

int mwk_addr_give(const struct mw_addr *a, void *to)
{
	struct sockaddr_in *in = to;
	struct sockaddr_in6 *in6 = to;

	if (a->family == MW_FAMILY_IP6) {
		memset(in6, 0, sizeof(*in6));
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(a->port);
		in6->sin6_flowinfo = htonl(a->flowinfo);
		in6->sin6_scope_id = a->scope_id;
		memcpy(&in6->sin6_addr, a->addr, 16);
		return sizeof(*in6);
	}
	memset(in, 0, sizeof(*in));
	in->sin_family = AF_INET;
	in->sin_port = htons(a->port);
	memcpy(&in->sin_addr, a->addr, 4);
	return sizeof(*in);
}

bool mwk_addr_of(struct mwk_end *e, struct mw_addr *a, bool peer)
{
	u8 __peer *from = peer ? (u8 __peer *)&e->words->names.peer : (u8 __peer *)&e->words->names.local;

	for (size_t n = 0; n < sizeof(*a); n++)
		((u8 *)a)[n] = mw_load(MW_WORD(from + n));
	return msg_addr_ok(a, false);
}
