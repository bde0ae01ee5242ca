// SPDX-License-Identifier: Apache-2.0
/*
 * grant.c - the carrier `xen`: grant references by /dev/xen/gntdev, and an event channel by /dev/xen/evtchn. Their ioctls
 * directly: libxengnttab chooses the address, and here it is ours to choose.
 * Trust: the hypervisor checks each ref; one that is no grant to us is -EINVAL or so.
 *
 * gntdev's table of what was mapped is needed between the ioctl and mmap() only: the mapping has a reference of its own. So
 * nothing of it is to be kept, and a worker's mappings are gone when it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/event_channel.h> /* whose xen.h is not ours */
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>

#include "chan/wire.h"
#include "ins/xen/carrier.h"

#define AT_ONCE   256u  /* pages */

static int gntdev = -1, evtchn = -1;
static uint32_t peer, port;

/* At most AT_ONCE. */
static int map_some(void *at, const uint32_t *refs, uint32_t pages)
{
	static struct {
		struct ioctl_gntdev_map_grant_ref m;
		struct ioctl_gntdev_grant_ref more[AT_ONCE - 1];
	} q;
	struct ioctl_gntdev_unmap_grant_ref done;
	int r = 0;

	q.m.count = pages;
	for (uint32_t i = 0; i < pages; i++)
		*(i ? &q.more[i - 1] : &q.m.refs[0]) = (struct ioctl_gntdev_grant_ref){ .domid = peer, .ref = refs[i] };
	if (ioctl(gntdev, IOCTL_GNTDEV_MAP_GRANT_REF, &q) < 0)
		return -errno;
	if (mmap(at, (size_t)pages * MW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, gntdev, (off_t)q.m.index) == MAP_FAILED)
		r = -errno;
	done = (struct ioctl_gntdev_unmap_grant_ref){ .index = q.m.index, .count = pages };
	ioctl(gntdev, IOCTL_GNTDEV_UNMAP_GRANT_REF, &done);
	return r;
}

static int xen_map(void *at, const uint32_t *refs, uint32_t pages)
{
	for (uint32_t i = 0, n; i < pages; i += n) {
		int r;

		n = pages - i < AT_ONCE ? pages - i : AT_ONCE;
		r = map_some((uint8_t *)at + (size_t)i * MW_PAGE, refs + i, n);
		if (r < 0) {
			carrier_xen.unmap(at, refs, i + n);
			return r;
		}
	}
	return 0;
}

static void xen_unmap(void *at, const uint32_t *refs, uint32_t pages)
{
	(void)refs;
	if (pages && mmap(at, (size_t)pages * MW_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(1); /* what is mapped there is not ours any more */
}

static int xen_fd(void)
{
	return evtchn;
}

/* That the other side is gone, XenStore tells. */
static bool xen_news(void)
{
	uint32_t ports[16];
	ssize_t n = read(evtchn, ports, sizeof(ports));

	if (n > 0 && write(evtchn, ports, (size_t)n) < 0) /* unmasks them, before we look at what they say */
		return false;
	return n > 0 || errno == EAGAIN || errno == EINTR;
}

static void xen_notify(void)
{
	struct ioctl_evtchn_notify n = { .port = port };

	ioctl(evtchn, IOCTL_EVTCHN_NOTIFY, &n);
}

const struct carrier carrier_xen = { "xen", xen_map, xen_unmap, xen_fd, xen_news, xen_notify };

int grant_open(uint32_t domain, uint32_t remote_port)
{
	struct ioctl_evtchn_bind_interdomain b = { .remote_domain = domain, .remote_port = remote_port };
	int r;

	gntdev = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	evtchn = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (gntdev < 0 || evtchn < 0)
		return -errno;
	r = ioctl(evtchn, IOCTL_EVTCHN_BIND_INTERDOMAIN, &b);
	if (r < 0)
		return -errno;
	peer = domain;
	port = (uint32_t)r;
	return 0;
}
