// SPDX-License-Identifier: Apache-2.0
/*
 * confine.c - see confine.h.
 * Trust: as in the header.
 *
 * A socket filter sees every arriving segment from its TCP header on, in every state, and is inherited by accepted sockets.
 * Who connects must get SYN with ACK; who is connected to must get SYN without ACK. Once locked, a filter stays.
 */
#include "broker/confine.h"

#include <errno.h>
#include <linux/filter.h>
#include <sys/socket.h>

#define FLAGS_AT 13 /* in the TCP header */
#define SYN 0x02
#define ACK 0x10

/* Drops segments whose SYN and ACK are as in `refused`. */
static int filter(int fd, unsigned int refused)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffffu),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

int confine_listener(int fd)
{
	return filter(fd, SYN | ACK);
}

int confine_datagrams(int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo")) < 0 ? -errno : 0;
}

int confine_connector(int fd)
{
	int r = confine_datagrams(fd);

	return r < 0 ? r : filter(fd, SYN);
}
