// SPDX-License-Identifier: Apache-2.0
/*
 * privs.c - see privs.h.
 * Trust: as in the header. The order matters: each step must leave the next one possible.
 */
#include <errno.h>
#include <grp.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/privs.h"

#define NOBODY 65534

static int change_user(void)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

/* EPERM: no capability to do it with; then no_new_privs, below, keeps us from ever using what is in the set. */
static int drop_bounding(void)
{
	for (int c = 0; c < 64; c++)
		if (prctl(PR_CAPBSET_READ, c) == 1 && prctl(PR_CAPBSET_DROP, c) < 0)
			return errno == EPERM ? 0 : -errno;
	return 0;
}

static int drop_capabilities(void)
{
	cap_t none = cap_init();
	int r;

	if (!none)
		return -ENOMEM;
	r = cap_set_proc(none) < 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ? -errno : 0;
	cap_free(none);
	if (r == 0 && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0))
		r = -errno;
	return r;
}

int privs_drop(void)
{
	int r = drop_bounding();

	if (r == 0)
		r = change_user();
	return r < 0 ? r : drop_capabilities();
}
