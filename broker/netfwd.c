/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets the host forward packets to and from our veths, and to nobody else.
 * Trust: believes the kernel, and the administrator who owns these settings.
 *
 * Whether a packet may be forwarded is asked of the interface that it came in by.
 *   IPv4  net.ipv4.conf.IF.forwarding suffices; ip_forward itself is not touched.
 *   IPv6  since Linux 6.17 net.ipv6.conf.IF.force_forwarding does, and leaves router advertisements and the rest of a host's
 *         behaviour alone. Before, only conf.all.forwarding opens the way, which makes every interface a router's:
 *         accept_ra=1 becomes 2 there first, so that default routes that were learned stay.
 * An interface that only we made forward is marked in net.ipv4.conf.IF.tag, which the kernel keeps for such use and never
 * reads. So any broker knows, also after another was killed, what to guard (plan.c) and what to switch back. A tag that
 * someone else set is left alone; that interface then forwards unguarded and stays so.
 * What stays after the last broker was killed with SIGKILL: these settings and tags, until the next broker ends normally.
 */
#include "broker/netfwd.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "broker/plan.h"
#include "broker/sysctl.h"

enum {
	TAG = 0x6d770000,	/* "mw" */
	TAG_BITS = 0xf,
	BY_US_4 = 1,		/* conf.IF.forwarding */
	BY_US_6 = 2,		/* conf.IF.force_forwarding */
	BY_US_6_ALL = 4,	/* conf.all.forwarding */
	BY_US_RA = 8,		/* accept_ra, 1 to 2 */
};

static const char lock_path[] = "/run/mwcomms-net.lock";

#ifdef MW_TEST
bool netfwd_old_kernel;
#else
static const bool netfwd_old_kernel;
#endif

int netfwd_lock(void)
{
	int fd = open(lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return -errno;
	do
		err = flock(fd, LOCK_EX) ? -errno : 0;
	while (err == -EINTR);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static bool is_ours(const char *name)
{
	return !strncmp(name, PLAN_IF_PREFIX, sizeof(PLAN_IF_PREFIX) - 1);
}

/* Our marks on an interface; -1 if the tag is someone else's. */
static int tag_get(const char *name)
{
	int tag;

	if (sysctl_read(&tag, "net/ipv4/conf/%s/tag", name))
		return -1;
	if (tag && (tag & ~TAG_BITS) != TAG)
		return -1;
	return tag & TAG_BITS;
}

static void tag_add(const char *name, int bit)
{
	int tag = tag_get(name);

	if (tag >= 0 && !is_ours(name))
		(void)sysctl_write(TAG | tag | bit, "net/ipv4/conf/%s/tag", name);
}

static int enable4(const char *name)
{
	int on, err;

	if (sysctl_read(&on, "net/ipv4/conf/%s/forwarding", name) || on)
		return 0;	/* no IPv4 on it, or nothing to do */
	err = sysctl_write(1, "net/ipv4/conf/%s/forwarding", name);
	if (!err)
		tag_add(name, BY_US_4);
	return err;
}

/* Whether the kernel has a switch for one interface alone. */
static bool has_force(void)
{
	int on;

	return !netfwd_old_kernel && !sysctl_read(&on, "net/ipv6/conf/lo/force_forwarding");
}

static int enable6(const char *name)
{
	int on, err;

	if (sysctl_read(&on, "net/ipv6/conf/%s/force_forwarding", name) || on)
		return 0;
	err = sysctl_write(1, "net/ipv6/conf/%s/force_forwarding", name);
	if (!err)
		tag_add(name, BY_US_6);
	return err;
}

static int enable6_all(const struct if_nameindex *ifs)
{
	int ra;

	for (const struct if_nameindex *i = ifs; i->if_index; i++) {
		if (!sysctl_read(&ra, "net/ipv6/conf/%s/accept_ra", i->if_name) && ra == 1 && !is_ours(i->if_name) &&
		    !sysctl_write(2, "net/ipv6/conf/%s/accept_ra", i->if_name))
			tag_add(i->if_name, BY_US_RA);
		tag_add(i->if_name, BY_US_6_ALL);
	}
	return sysctl_write(1, "net/ipv6/conf/all/forwarding");
}

/* Interfaces that are tagged, and would not forward today if we had not come. */
static int collect_guards(struct netfwd *out, const struct if_nameindex *ifs)
{
	int all4 = 0, all6 = 0;

	(void)sysctl_read(&all4, "net/ipv4/conf/all/forwarding");
	(void)sysctl_read(&all6, "net/ipv6/conf/all/forwarding");
	memset(out, 0, sizeof(*out));
	for (const struct if_nameindex *i = ifs; i->if_index; i++) {
		int tag = tag_get(i->if_name);

		if (tag < 0)
			continue;
		if (out->guard4_count == NETFWD_MAX || out->guard6_count == NETFWD_MAX)
			return -E2BIG;
		if ((tag & BY_US_4) && !all4)
			out->guard4[out->guard4_count++] = i->if_index;
		if ((tag & BY_US_6_ALL) || ((tag & BY_US_6) && !all6))
			out->guard6[out->guard6_count++] = i->if_index;
	}
	return 0;
}

int netfwd_enable(struct netfwd *out, bool v6)
{
	struct if_nameindex *ifs = if_nameindex();
	const bool force = has_force();
	int all6 = 1, err = 0;

	if (!ifs)
		return -errno;
	if (v6 && tag_get("lo") > 0 && (tag_get("lo") & BY_US_6_ALL))
		all6 = 0;	/* by us: look again for interfaces that came since */
	else if (v6)
		(void)sysctl_read(&all6, "net/ipv6/conf/all/forwarding");
	for (struct if_nameindex *i = ifs; i->if_index && !err; i++) {
		if (!strcmp(i->if_name, "lo"))
			continue;
		err = enable4(i->if_name);
		if (!err && !all6 && force)
			err = enable6(i->if_name);
	}
	if (!err && !all6 && !force)
		err = enable6_all(ifs);
	if (!err)
		err = collect_guards(out, ifs);
	if_freenameindex(ifs);
	return err;
}

static void restore(const char *name)
{
	int tag = tag_get(name), all4 = 0;

	if (tag <= 0)
		return;
	(void)sysctl_read(&all4, "net/ipv4/conf/all/forwarding");	/* switched on by the administrator meanwhile: stays */
	if ((tag & BY_US_4) && !all4)
		(void)sysctl_write(0, "net/ipv4/conf/%s/forwarding", name);
	if (tag & BY_US_6)
		(void)sysctl_write(0, "net/ipv6/conf/%s/force_forwarding", name);
	if (tag & BY_US_6_ALL)
		(void)sysctl_write(0, "net/ipv6/conf/all/forwarding");
	if (tag & BY_US_RA)
		(void)sysctl_write(1, "net/ipv6/conf/%s/accept_ra", name);
	(void)sysctl_write(0, "net/ipv4/conf/%s/tag", name);
}

void netfwd_release(void)
{
	struct if_nameindex *ifs = if_nameindex();
	bool used = false;

	if (!ifs)
		return;
	for (struct if_nameindex *i = ifs; i->if_index; i++)
		used |= is_ours(i->if_name);
	for (struct if_nameindex *i = ifs; !used && i->if_index; i++)
		restore(i->if_name);
	if_freenameindex(ifs);
}
