/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of an application's network as text: plan_show NAME GUARD4 GUARD6 NUMBER/open|shut/ADDRESS... -- PROTO/FAMILY/PORT/INS_PORT...
 * GUARDs are interface indexes with commas, or -. FAMILY is 0 (both), 4 or 6. For tests that compare it with what is in force.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "broker/plan.h"

static unsigned guard4[64], guard6[64];
static struct plan_ins ins[PLAN_INS_MAX];
static struct plan_port ports[64];

static size_t numbers(char *text, unsigned *out)
{
	size_t n = 0;

	for (char *at = strtok(text, ","); at && *at != '-'; at = strtok(NULL, ","))
		out[n++] = (unsigned)atoi(at);
	return n;
}

static void slot_of(struct plan_addrs *out, const char *address)
{
	for (unsigned slot = 0; slot < 65536; slot++) {
		plan_slot(out, slot);
		if (!strcmp(out->ins4, address))
			return;
	}
	exit(2);
}

int main(int argc, char **argv)
{
	struct plan p = { .name = argv[1], .ins = ins, .ports = ports, .guard4 = guard4, .guard6 = guard6, .first = true, .has_v6 = true };
	int i = 4;

	if (argc < 5)
		return 2;
	p.guard4_count = numbers(argv[2], guard4);
	p.guard6_count = numbers(argv[3], guard6);
	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		char what[8], address[INET_ADDRSTRLEN];

		if (sscanf(argv[i], "%u/%7[a-z]/%15s", &ins[p.ins_count].number, what, address) != 3)
			return 2;
		ins[p.ins_count].open = !strcmp(what, "open");
		slot_of(&ins[p.ins_count++].addrs, address);
	}
	for (i++; i < argc; i++) {
		struct plan_port *q = &ports[p.port_count++];
		char proto[4];
		int family;

		if (sscanf(argv[i], "%3[a-z]/%d/%hu/%hu", proto, &family, &q->host_port, &q->ins_port) != 4)
			return 2;
		q->proto = !strcmp(proto, "tcp") ? IPPROTO_TCP : IPPROTO_UDP;
		q->family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : AF_UNSPEC;
	}
	return plan_write(stdout, &p) < 0;
}
