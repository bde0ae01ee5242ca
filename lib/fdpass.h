/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdpass.h - one record with descriptors over a UNIX socket. Used by shim (through raw system calls), ins, broker.
 * Trust: at most `max` descriptors are taken; any more the other side sent are closed.
 */
#ifndef MW_LIB_FDPASS_H
#define MW_LIB_FDPASS_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define FDPASS_MAX 4

union fdpass_control {
	size_t aligned; /* as cmsghdr, whose own type cannot be within another */
	char bytes[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
};

/*
 * System calls, not libc's functions: inside the application libc's names are the shim's own.
 * Both return bytes, or -errno; send never raises SIGPIPE.
 */
ssize_t fdpass_send(int sock, const void *bytes, size_t n, const int *fds, int count, int flags);
/* *count: in: room in fds (at most FDPASS_MAX); out: how many arrived, close-on-exec. -EMSGSIZE if the record was cut. */
ssize_t fdpass_recv(int sock, void *bytes, size_t n, int *fds, int *count, int flags);
/* For a message of one's own: what it carries, and what it has brought (how many; those beyond `room` are closed).
 * control: an aligned CMSG_SPACE of them all. */
void fdpass_give(struct msghdr *m, void *control, const int *fds, int count); /* count 0: nothing */
int fdpass_take(struct msghdr *m, int *fds, int room);
/* The same, of a record in parts. */
ssize_t fdpass_sendv(int sock, struct iovec *iov, size_t parts, const int *fds, int count, int flags);
ssize_t fdpass_recvv(int sock, struct iovec *iov, size_t parts, int *fds, int *count, int flags);

#endif
