/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stack.h - the network itself, behind one struct of non-blocking functions. Used by ins/.
 * Trust: arguments are checked by ins/ before they come here; results are the stack's own.
 *
 * All return 0 or a count, or -errno; -EAGAIN where a blocking call would sleep. A handle is a descriptor of the
 * INS's that its poller can watch.
 */
#ifndef MW_STACK_STACK_H
#define MW_STACK_STACK_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "chan/msg.h"

#define DGRAM_NOT_DONE 0xffffffffu
struct dgram_call {
	struct mmsghdr m;
	struct sockaddr_storage name;
};

struct stack {
	const char *name;
	int (*socket)(uint16_t family, uint16_t type); /* MW_FAMILY_, MW_TYPE_ */
	int (*bind)(int h, const struct mw_addr *a);
	int (*listen)(int h, int backlog);
	int (*unlisten)(int h);                 /* shutdown(2) of a listener: it accepts no more */
	int (*connect)(int h, const struct mw_addr *a);
	int (*accept)(int h, struct mw_addr *peer);
	ssize_t (*recv)(int h, const struct iovec *iov, int count); /* 0: the peer will send no more */
	ssize_t (*send)(int h, const struct iovec *iov, int count, bool more);
	int (*send_urgent)(int h, const void *byte); /* 1, or -errno */
	/* Bytes that recv(), or send() and send_urgent(), have ever moved; active: it was connected, not accepted. */
	int64_t (*moved)(int h, bool sent, bool active);
	/* Urgent bytes are among the others: a recv() ends before one, unless it begins with it. */
	int (*waits)(int h);                    /* 1: a byte is there for recv(); 0 or -errno: what it will return */
	bool (*at_mark)(int h);                 /* recv() begins with the urgent byte, or would if that had arrived */
	int (*recv_urgent)(int h, bool peek);   /* the byte; -EINVAL: none, or taken; -EAGAIN: to come; -ENODATA: will not */
	/*
	 * In a dgram_call the stack notes what it has done, in the same step as it does it: m.msg_len is DGRAM_NOT_DONE before.
	 * received() fills from it what recv_from() would have filled, and returns what it would have returned.
	 */
	/* One datagram; d->peer, control, MW_DGF_CTRUNC are filled. Its own length, which may be more than room. */
	ssize_t (*recv_from)(int h, struct dgram_call *c, struct mw_dgram *d, void *data, size_t room);
	size_t (*received)(struct dgram_call *c, struct mw_dgram *d);
	ssize_t (*send_to)(int h, struct dgram_call *c, const struct mw_dgram *d, const void *data, size_t bytes);
	int (*push)(int h);                     /* sends what was held back by `more` */
	int (*shutdown_send)(int h);
	void (*close)(int h);
	void (*abort)(int h);                   /* closes with a reset */
	int (*error)(int h);                    /* takes the pending error: positive errno or 0 */
	int (*name_of)(int h, struct mw_addr *a, bool peer);
	int (*setopt)(int h, int level, int name, const void *value, uint32_t bytes);
	int (*getopt)(int h, int level, int name, void *value, uint32_t *bytes); /* *bytes is written on failure too */
	int (*ioctl)(int h, unsigned int request, void *argument);
};

extern const struct stack stack_linux;

#endif
