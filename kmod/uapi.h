/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * uapi.h - what programs ask of /dev/mwcomms. Included by the module, by the shim and by tests.
 * Trust: whoever may open the device may make sockets through it, and nothing else.
 *
 * A socket made here is one like any other to its process: read, write, poll, sendmsg, setsockopt, fork, SCM_RIGHTS. Only the
 * stack behind it is another machine's.
 */
#ifndef MW_KMOD_UAPI_H
#define MW_KMOD_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MW_DEVICE "/dev/mwcomms"
#define MW_DEV_ABI 1 /* grows when a struct or the meaning of a request changes */

/* MW_DEV_VERSION: always answered, whatever the ABI. */
struct mw_dev_version {
	__u32 abi;      /* MW_DEV_ABI */
	__u32 protocol; /* of the channel: MW_DOOR_VERSION */
	__u32 ins;      /* INSs that serve now */
	__u32 pad;      /* 0 */
};

/*
 * MW_DEV_SOCKET: as socket(family, type | flags, protocol); the descriptor is the ioctl's result. EAFNOSUPPORT, EPROTONOSUPPORT,
 * ESOCKTNOSUPPORT, EPERM (raw sockets) as Linux says; EINVAL: an unknown flag or protocol number; ENETDOWN: no INS came within the time that the
 * module's parameter `wait` gives; ENFILE, ENOBUFS: the INS has no room.
 */
struct mw_dev_socket {
	__s32 family;   /* AF_INET, AF_INET6 */
	__s32 type;     /* SOCK_STREAM, SOCK_DGRAM */
	__s32 protocol; /* 0, or IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE */
	__u32 flags;    /* SOCK_CLOEXEC, SOCK_NONBLOCK */
};

/* MW_DEV_STATS: counts since the module was loaded, but for the first five, which are of this moment. */
struct mw_dev_stats {
	__u64 ins;             /* INSs that serve */
	__u64 sockets;         /* with a slot */
	__u64 ring_pages;      /* granted for rings */
	__u64 ring_slots;      /* slots that have rings */
	__u64 shared_pages;    /* granted, all */
	__u64 requests;        /* control requests sent */
	__u64 notified;        /* notifications sent */
	__u64 news;            /* notifications received */
	__u64 accepted;        /* connections */
	__u64 sent, received;  /* bytes that were copied */
	__u64 quarantined;     /* INSs that were given up because of what they said or did not say */
	__u64 broken;          /* sockets that were given up because of an index or record of an INS */
};

#define MW_DEV_VERSION _IOR('w', 0, struct mw_dev_version)
#define MW_DEV_SOCKET  _IOW('w', 1, struct mw_dev_socket)
#define MW_DEV_STATS   _IOR('w', 2, struct mw_dev_stats)

#endif
