// SPDX-License-Identifier: Apache-2.0
/*
 * diag_fuzz.c - libFuzzer target: records as a kernel of another age, or one that lies, answers NETLINK_SOCK_DIAG.
 * Trust: none.
 */
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>

#include "telem/diag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile size_t sink;

static void seen(void *arg, const struct diag *d)
{
	size_t name = strlen((const char *)d->s.cong);

	if (arg != &sink || name >= sizeof(d->s.cong) || !diag_state_name(d->s.kernel_state) || d->s.id || d->s.time_ns || d->s.seq)
		abort();
	sink += name + d->cookie;
}

/* Half of them begin as a record does: chance would seldom find that. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct nlmsghdr h = { .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_seq = 7 };
	uint8_t *copy = malloc(n + sizeof(h));
	bool whole = n && data[0] & 1;

	if (!copy)
		abort();
	h.nlmsg_len = (uint32_t)(n + sizeof(h));
	memcpy(copy, &h, sizeof(h));
	memcpy(copy + sizeof(h), data, n);
	if (whole)
		diag_parse(copy, n + sizeof(h), 7, seen, (void *)(uintptr_t)&sink);
	memmove(copy, copy + sizeof(h), n);
	copy = realloc(copy, n + !n); /* its end is where the sanitizer looks */
	if (!copy)
		abort();
	diag_parse(copy, n, 7, seen, (void *)(uintptr_t)&sink);
	free(copy);
	return 0;
}
