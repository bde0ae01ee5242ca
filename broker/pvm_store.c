// SPDX-License-Identifier: Apache-2.0
/*
 * pvm_store.c - see pvm_store.h.
 * Trust: as in the header.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/pvm_store.h"
#include "link/xenstore.h"

#define NETFLOW_KEY "/mw/pvm/netflow"

static bool there;

void pvm_store_open(void)
{
	int r = store_open();

	there = r == 0;
	if (r < 0 && r != -ENOENT && r != -ENODEV && r != -ENXIO)
		fprintf(stderr, "mw xen: cannot reach XenStore: %s\n", strerror(-r));
}

void pvm_store_address(uint32_t domain, uint16_t family, char text[PVM_ADDRESS_BYTES])
{
	char key[64], value[STORE_VALUE_MAX], binary[16], *rest = value;
	int af = family == MW_FAMILY_IP4 ? AF_INET : AF_INET6;

	text[0] = '\0';
	snprintf(key, sizeof(key), "/mw/%u/ip_addrs", domain);
	if (!there || store_read(key, value) < 0)
		return;
	for (char *one = strtok_r(value, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
		if (inet_pton(af, one, binary) != 1)
			continue;
		snprintf(text, PVM_ADDRESS_BYTES, "%s", one);
		return;
	}
}

void pvm_store_netflow(const char *address, uint16_t port)
{
	static char told[PVM_ADDRESS_BYTES + 8] = "?";
	char text[sizeof(told)] = "";
	int r;

	if (*address)
		snprintf(text, sizeof(text), "%s:%u", address, port);
	if (!there || !strcmp(text, told))
		return;
	r = store_write(NETFLOW_KEY, text);
	if (r < 0)
		fprintf(stderr, "mw xen: cannot write the key " NETFLOW_KEY ": %s; `mw xen setup` on dom0 makes it\n", strerror(-r));
	memcpy(told, text, sizeof(told));
}
