// SPDX-License-Identifier: Apache-2.0
/*
 * sandbox.c - what mw-front gives up before its first look at a registry.
 * Trust: after this, a frontend taken over by an entry or by etcd's answers has one capability, CAP_NET_ADMIN, a mirror none; both
 * read what is below, and write nothing.
 */
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "front/front.h"
#include "lib/landlock.h"
#include "lib/notify.h"

/* Root's files stay readable: they are ours. A unit of systemd that left us no more than that may allow no change either. */
static int keep_capability(int capability)
{
	cap_value_t value = capability;
	cap_t set = cap_init(), now = cap_get_proc();
	int r = 0;

	if (!set || !now)
		r = -ENOMEM;
	else if (capability >= 0 &&
		 (cap_set_flag(set, CAP_PERMITTED, 1, &value, CAP_SET) < 0 || cap_set_flag(set, CAP_EFFECTIVE, 1, &value, CAP_SET) < 0))
		r = -errno;
	if (r == 0 && ((cap_compare(set, now) && cap_set_proc(set) < 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
		r = -errno;
	cap_free(set);
	cap_free(now);
	return r;
}

/* Where a file of the user's is: it may be renewed while we run. */
static const char *place_of(const char *variable, char path[PATH_MAX])
{
	const char *file = getenv(variable);

	if (!file || strlen(file) >= PATH_MAX)
		return NULL;
	strcpy(path, file);
	return dirname(path);
}

int sandbox_enter(const struct front_options *o, int capability, bool locked)
{
	/* The registry; whether this host forwards, and what listens (of /proc all, where no file keeps its inode); what libraries look up.
	 * Behind these what etcd takes: names, and TLS. */
	const char *readable[] = { o->root, "/proc", "/usr", "/lib", "/etc/iproute2", "/etc/protocols", "/etc/services", "/etc/nsswitch.conf",
				   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL };
	static const char *const files[] = { "MW_ETCD_CA", "MW_ETCD_CERT", "MW_ETCD_KEY" };
	static const char *const lookups[] = { "/etc", "/run", "/dev/urandom" }; /* /run: what resolv.conf may lead to */
	static char places[3][PATH_MAX];
	const char *const removable[] = { o->root, NULL }; /* the lock, at the end */
	size_t n = 8;
	int r = keep_capability(capability);

	for (size_t i = 0; o->etcd && i < 3; i++) {
		const char *place = place_of(files[i], places[i]);

		readable[n++] = lookups[i];
		if (place)
			readable[n++] = place;
	}
	return r < 0 ? r : landlock_enter(&(struct landlock_room){ .readable = readable, .removable = locked ? removable : NULL,
								   .names = notify_is_abstract() });
}
