// SPDX-License-Identifier: Apache-2.0
/*
 * taken.c - see taken.h.
 * Trust: as in the header.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "front/taken.h"

#define LOOPBACK6 "00000000000000000000000001000000"

static bool is_loopback(const char *hex)
{
	return strlen(hex) == 8 ? !strcmp(hex + 6, "7F") : !strcmp(hex, LOOPBACK6);
}

/* "  sl  local_address rem_address   st ...": Linux's net/ipv4/tcp_ipv4.c, get_tcp4_sock. */
static bool in_file(const char *path, uint16_t port, unsigned wanted)
{
	FILE *f = fopen(path, "re");
	char line[512], addr[33];
	unsigned p, state;
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, " %*[^:]: %32[0-9A-F]:%x %*s %x", addr, &p, &state) == 3 && p == port && state == wanted &&
			!is_loopback(addr);
	if (f)
		fclose(f);
	return found;
}

bool taken_port(int proto, uint16_t port)
{
	if (proto == IPPROTO_TCP)
		return in_file("/proc/net/tcp", port, 0x0A) || in_file("/proc/net/tcp6", port, 0x0A);
	return in_file("/proc/net/udp", port, 0x07) || in_file("/proc/net/udp6", port, 0x07);
}
