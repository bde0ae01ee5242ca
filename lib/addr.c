// SPDX-License-Identifier: Apache-2.0
/*
 * addr.c - see addr.h.
 * Trust: as in the header.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "lib/addr.h"

int addr_from_sockaddr(struct mw_addr *a, const struct sockaddr *sa, socklen_t len)
{
	struct mw_addr n;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	sa_family_t family;

	memset(&n, 0, sizeof(n));
	if (!sa || len < sizeof(family))
		return -EINVAL;
	memcpy(&family, sa, sizeof(family));
	switch (family) {
	case AF_UNSPEC:
		break;
	case AF_INET:
		if (len < sizeof(in))
			return -EINVAL;
		memcpy(&in, sa, sizeof(in));
		n.family = MW_FAMILY_IP4;
		n.port = ntohs(in.sin_port);
		memcpy(n.addr, &in.sin_addr, 4);
		break;
	case AF_INET6:
		if (len < 24) /* Linux: SIN6_LEN_RFC2133, without the scope */
			return -EINVAL;
		memset(&in6, 0, sizeof(in6));
		memcpy(&in6, sa, len < sizeof(in6) ? len : sizeof(in6));
		n.family = MW_FAMILY_IP6;
		n.port = ntohs(in6.sin6_port);
		n.flowinfo = ntohl(in6.sin6_flowinfo);
		n.scope_id = in6.sin6_scope_id;
		memcpy(n.addr, &in6.sin6_addr, 16);
		break;
	default:
		return -EAFNOSUPPORT;
	}
	*a = n;
	return 0;
}

socklen_t addr_to_sockaddr(const struct mw_addr *a, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	switch (a->family) {
	case MW_FAMILY_IP4:
		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, a->addr, 4);
		return sizeof(*in);
	case MW_FAMILY_IP6:
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(a->port);
		in6->sin6_flowinfo = htonl(a->flowinfo);
		in6->sin6_scope_id = a->scope_id;
		memcpy(&in6->sin6_addr, a->addr, 16);
		return sizeof(*in6);
	default:
		return 0;
	}
}

static bool is_mapped(const struct mw_addr *a)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return a->family == MW_FAMILY_IP6 && memcmp(a->addr, prefix, sizeof(prefix)) == 0;
}

bool addr_unmap(struct mw_addr *a)
{
	uint8_t four[16] = { 0 };

	if (!is_mapped(a))
		return false;
	memcpy(four, a->addr + 12, 4);
	memcpy(a->addr, four, sizeof(four));
	a->family = MW_FAMILY_IP4;
	a->scope_id = a->flowinfo = 0;
	return true;
}

void addr_map(struct mw_addr *a)
{
	if (a->family != MW_FAMILY_IP4)
		return;
	memcpy(a->addr + 12, a->addr, 4);
	memset(a->addr, 0, 10);
	memset(a->addr + 10, 0xff, 2);
	a->family = MW_FAMILY_IP6;
}

const char *addr_text_ip(const struct mw_addr *a, char text[ADDR_TEXT_BYTES])
{
	bool mapped = is_mapped(a);

	if (a->family == MW_FAMILY_IP4 || mapped)
		inet_ntop(AF_INET, a->addr + (mapped ? 12 : 0), text, ADDR_TEXT_BYTES);
	else if (a->family == MW_FAMILY_IP6)
		inet_ntop(AF_INET6, a->addr, text, ADDR_TEXT_BYTES);
	else
		memcpy(text, "-", 2);
	return text;
}

const char *addr_text(const struct mw_addr *a, char text[ADDR_TEXT_BYTES])
{
	char ip[ADDR_TEXT_BYTES];
	bool brackets = a->family == MW_FAMILY_IP6 && !is_mapped(a);

	addr_text_ip(a, ip);
	if (a->family == MW_FAMILY_NONE)
		memcpy(text, "-", 2);
	else
		snprintf(text, ADDR_TEXT_BYTES, brackets ? "[%.50s]:%u" : "%.50s:%u", ip, a->port);
	return text;
}

bool addr_is_loopback(const struct mw_addr *a)
{
	static const uint8_t loop6[16] = { [15] = 1 };

	if (a->family == MW_FAMILY_IP4)
		return a->addr[0] == 127;
	if (is_mapped(a))
		return a->addr[12] == 127;
	return a->family == MW_FAMILY_IP6 && memcmp(a->addr, loop6, 16) == 0;
}

bool addr_is_any(const struct mw_addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->addr, zero, a->family == MW_FAMILY_IP4 ? 4 : 16) == 0;
}
