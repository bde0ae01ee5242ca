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
#define MW_DEV_ABI 1u /* grows when a struct or the meaning of a request changes */

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

/*
 * Telemetry, MW_TELEM_DEVICE: who may open it for reading sees what INSs say of all sockets; to open it for writing takes
 * CAP_NET_ADMIN. A descriptor is bound to one part of one INS, once; then
 *   mmap, shared and for reading alone: that part, as PROTOCOL.md has it. It stays when the INS is gone. Of the arena the rings
 *     are not there: what lies behind its slots is SIGBUS. lseek(SEEK_END) says how long it is.
 *   read, 8 bytes: events of the INS ever. poll: POLLIN when there are more than the last read() told; POLLHUP: the INS is gone.
 * Unbound, poll's POLLIN says that INSs have come or gone since MW_TELEM_NEXT last answered ENOENT there.
 */
#define MW_TELEM_DEVICE "/dev/mwcomms-telem"

#define MW_TELEM_TELE  0 /* struct mw_tele, events, log, flows: PROTOCOL.md, section 7 */
#define MW_TELEM_ARENA 1 /* section 1 */

/* MW_TELEM_NEXT: the INS behind that one, in the order in which they came; ENOENT: there is none. */
struct mw_telem_ins {
	__u64 serial;   /* in: 0, or of the one before. Never used twice */
	__u32 domain;   /* of Xen; loop: 0 and up */
	__u32 drains;   /* 1: it gets nothing new */
};

/* MW_TELEM_BIND: ENODEV: it is gone; EBUSY: bound already. */
struct mw_telem_bind {
	__u64 serial;
	__u32 part;     /* MW_TELEM_ */
	__u32 pad;      /* 0 */
};

/*
 * MW_TELEM_VERB, of a bound descriptor that is open for writing: the record is link/telem.h's, with its value and zeros behind
 * it, and becomes the answer. ENODEV: the INS is gone, EINTR: a fatal signal, EIO: an INS that knows no such request.
 */
struct mw_telem_verb {
	__u8 record[352];
};

#define MW_DEV_VERSION _IOR('w', 0, struct mw_dev_version)
#define MW_DEV_SOCKET  _IOW('w', 1, struct mw_dev_socket)
#define MW_DEV_STATS   _IOR('w', 2, struct mw_dev_stats)
#define MW_TELEM_NEXT  _IOWR('w', 3, struct mw_telem_ins)
#define MW_TELEM_BIND  _IOW('w', 4, struct mw_telem_bind)
#define MW_TELEM_VERB  _IOWR('w', 5, struct mw_telem_verb)

#endif
