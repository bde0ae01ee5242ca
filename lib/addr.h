/* SPDX-License-Identifier: Apache-2.0 */
/*
 * addr.h - sockaddr to and from the channel's endpoint, and to text. Used by shim, ins, broker, ctl.
 * Trust: lengths come with the pointer and are checked here as Linux checks them.
 */
#ifndef MW_LIB_ADDR_H
#define MW_LIB_ADDR_H

#include <sys/socket.h>

#include "chan/wire.h"

#define ADDR_TEXT_BYTES 64 /* "[ipv6]:port" with room */

/* 0, -EINVAL when len is too short for the family, -EAFNOSUPPORT for a family that is not IP (or AF_UNSPEC). */
int addr_from_sockaddr(struct mw_addr *a, const struct sockaddr *sa, socklen_t len);

/* Fills *ss and returns its length; 0 for MW_FAMILY_NONE. */
socklen_t addr_to_sockaddr(const struct mw_addr *a, struct sockaddr_storage *ss);

/* "1.2.3.4:80" or "[::1]:80"; an IPv4-mapped IPv6 address is shown as IPv4; "-" for none. Returns text. */
const char *addr_text(const struct mw_addr *a, char text[ADDR_TEXT_BYTES]);
/* The address alone, without port and brackets. */
const char *addr_text_ip(const struct mw_addr *a, char text[ADDR_TEXT_BYTES]);

bool addr_is_loopback(const struct mw_addr *a);
/* An IPv4-mapped IPv6 address becomes the IPv4 address that it stands for. True if it was one. */
bool addr_unmap(struct mw_addr *a);
/* An IPv4 address becomes ::ffff:a.b.c.d, as an IPv6 socket names it; another stays. */
void addr_map(struct mw_addr *a);
bool addr_is_any(const struct mw_addr *a);

#endif
