// SPDX-License-Identifier: Apache-2.0
/*
 * deny.c - see deny.h.
 * Trust: as in the header.
 */
#include <errno.h>

#include "lib/deny.h"

int deny_calls(const int *calls, size_t count, int (*more)(scmp_filter_ctx f))
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int r = 0;

	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < count && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
	if (r == 0)
		r = more(f);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r;
}
