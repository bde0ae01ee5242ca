// SPDX-License-Identifier: Apache-2.0
/*
 * record.c - see record.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "broker/deposit.h"
#include "broker/record.h"
#include "lib/fdpass.h"

static uint32_t begun; /* by the broker before us: an INS's number + 1 */
static bool again;

/* As the kernel decides whether a sender waits. */
bool record_room(const struct one_ins *ins)
{
	int used, room;
	socklen_t n = sizeof(room);

	return ioctl(ins->child.fd, SIOCOUTQ, &used) < 0 || getsockopt(ins->child.fd, SOL_SOCKET, SO_SNDBUF, &room, &n) < 0 || used < room;
}

ssize_t record_look(const struct one_ins *ins, struct broker_msg *m, uint8_t value[BM_VALUE_MAX], int *fds, int *count)
{
	struct iovec iov[] = { { m, sizeof(*m) }, { value, BM_VALUE_MAX } };
	struct deposit_words *w = deposit_words();
	ssize_t n = -EAGAIN;

	if (record_room(ins))
		n = fdpass_recvv(ins->child.fd, iov, 2, fds, count, MSG_DONTWAIT | MSG_PEEK);
	else
		*count = 0;
	if (n <= 0 && n != -EMSGSIZE)
		return n;
	again = begun == ins->number + 1;
	if (again)
		begun = 0;
	mw_store(&w->answered.msg_len, 0u);
	mw_store(&w->taken.msg_len, 0u);
	mw_store_release(&w->who, ins->number + 1);
	return n;
}

bool record_again(void)
{
	return again;
}

void record_answer(const struct one_ins *ins, const struct broker_msg *m, const int *fds, int count)
{
	struct iovec iov = { (void *)(uintptr_t)m, sizeof(*m) };
	struct mmsghdr *out = &deposit_words()->answered;
	union fdpass_control c;

	out->msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	fdpass_give(&out->msg_hdr, &c, fds, count);
	sendmmsg(ins->child.fd, out, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void take(int fd)
{
	struct mmsghdr *in = &deposit_words()->taken;
	char byte;
	struct iovec iov = { &byte, 1 };

	in->msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	recvmmsg(fd, in, 1, MSG_DONTWAIT, NULL); /* the kernel closes what it carries */
}

void record_done(const struct one_ins *ins)
{
	take(ins->child.fd);
	mw_store_release(&deposit_words()->who, 0u);
	again = false;
}

void record_adopt(void)
{
	struct deposit_words *w = deposit_words();
	const struct one_ins *ins = w->who ? inss_find(w->who - 1) : NULL;

	if (ins && !w->taken.msg_len && w->answered.msg_len)
		record_done(ins);
	else if (ins && !w->taken.msg_len)
		begun = w->who;
}
