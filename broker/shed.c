// SPDX-License-Identifier: Apache-2.0
/*
 * shed.c - see shed.h.
 * Trust: as in the header.
 *
 * INSs and helpers come and go while the application runs, so what makes them is kept. What is left out would load kernel
 * modules, reach devices and memory, set the clock, end the machine, or give files other owners. Landlock is no help here: who is in one
 * of its domains may not mount, and an INS's empty file system is a mount.
 */
#include <errno.h>
#include <stdbool.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "broker/shed.h"

static const cap_value_t kept[] = {
	CAP_SYS_ADMIN,        /* namespaces of INSs, and of whom it asks */
	CAP_NET_ADMIN,        /* veth pairs, nftables, options for an application that may set them */
	CAP_NET_RAW,          /* such options */
	CAP_NET_BIND_SERVICE, /* published ports */
	CAP_SETUID, CAP_SETGID, CAP_SETPCAP, /* INSs and helpers become nobody, and drop all */
	CAP_SYS_CHROOT,       /* an INS's root, where that is no mount point */
	CAP_SYS_PTRACE,       /* which namespace a process is in */
	CAP_KILL,             /* the application's processes, which may be anybody's */
	CAP_DAC_OVERRIDE,     /* /proc of theirs; settings of the network; files that helpers are given */
	CAP_DAC_READ_SEARCH,
	CAP_SYS_RESOURCE,     /* descriptors on their way count against a limit */
};

static bool is_kept(cap_value_t c)
{
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (kept[i] == c)
			return true;
	return false;
}

/* EPERM: there is nothing to drop it with; then no_new_privs keeps us from ever using it. */
static int drop_bounding(void)
{
	for (cap_value_t c = 0; c <= CAP_LAST_CAP || prctl(PR_CAPBSET_READ, c) >= 0; c++)
		if (!is_kept(c) && prctl(PR_CAPBSET_READ, c) == 1 && prctl(PR_CAPBSET_DROP, c) < 0)
			return errno == EPERM ? 0 : -errno;
	return 0;
}

static int keep_some(void)
{
	cap_t now = cap_get_proc(), next = cap_init();
	cap_flag_value_t has;
	int r = now && next ? 0 : -ENOMEM;

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]) && r == 0; i++) {
		if (cap_get_flag(now, kept[i], CAP_PERMITTED, &has) < 0 || cap_set_flag(next, CAP_PERMITTED, 1, &kept[i], has) < 0 ||
		    cap_set_flag(next, CAP_EFFECTIVE, 1, &kept[i], has) < 0)
			r = -errno;
	}
	if (r == 0 && (cap_set_proc(next) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
		r = -errno;
	cap_free(now);
	cap_free(next);
	return r;
}

int shed(void)
{
	int r = drop_bounding();

	return r < 0 ? r : keep_some();
}
