// SPDX-License-Identifier: Apache-2.0
/*
 * netlink_fuzz.c - libFuzzer target: what the kernel answers to dumps, and one of another age or one that lies: conntrack's table, addresses
 * and routes.
 * Trust: none. Half of the messages have a head that fits.
 */
#include "lib/conntrack.c"

#include <linux/rtnetlink.h>

#define request rtnl_request
#include "broker/rtnl.c"
#undef request

#include "test/fuzz/input.h"

/* Several messages, each with a head; attributes are the input's. */
static size_t messages(struct input *in, uint8_t *to, size_t room)
{
	size_t at = 0;

	while (input_left(in) && at + 300 < room) {
		uint8_t kind = next_byte(in), n = next_byte(in);
		struct nlmsghdr h = { .nlmsg_len = NLMSG_LENGTH(n) };
		static const uint16_t types[] = { RTM_NEWADDR, RTM_NEWROUTE, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, NLMSG_DONE, NLMSG_ERROR };

		h.nlmsg_type = types[kind % 5];
		if (kind & 128)
			h.nlmsg_len = next_byte(in);
		memcpy(to + at, &h, sizeof(h));
		next_bytes(in, to + at + sizeof(h), n);
		at += NLMSG_ALIGN(sizeof(h) + n);
	}
	return at;
}

static void try_conntrack(const uint8_t *from, size_t n, uint8_t how)
{
	struct conntrack_led led = { .to4.s_addr = how };

	forget_some(-1, from, n, &(struct wanted){ .udp_port = how & 1 ? 53 : 0, .led = &led, .count = 1 });
}

static void try_routes(const uint8_t *from, size_t bytes)
{
	struct list l = { 0 };
	ssize_t n = (ssize_t)bytes;

	for (const struct nlmsghdr *h = (const void *)from; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
		if (h->nlmsg_type != NLMSG_DONE && h->nlmsg_type != NLMSG_ERROR)
			list_message(&l, (struct nlmsghdr *)(uintptr_t)h);
	for (size_t i = 0; i < l.count; i++)
		must((l.p[i].family == AF_INET && l.p[i].bits <= 32) || (l.p[i].family == AF_INET6 && l.p[i].bits <= 128));
	free(l.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint8_t made[65536] __attribute__((aligned(8)));
	struct input in = { data, data + n };
	uint8_t how = next_byte(&in), *exact; /* exactly as long as it is */
	size_t bytes = input_left(&in);

	if (how & 2)
		bytes = messages(&in, made, sizeof(made));
	else
		next_bytes(&in, made, bytes);
	exact = malloc(bytes + !bytes);
	must(exact != NULL);
	memcpy(exact, made, bytes);
	try_conntrack(exact, bytes, how);
	try_routes(exact, bytes);
	free(exact);
	return 0;
}
