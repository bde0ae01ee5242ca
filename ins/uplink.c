// SPDX-License-Identifier: Apache-2.0
/*
 * uplink.c - to and from the broker, whose end of life is ours.
 * Trust: the broker is believed; a record of the wrong size ends us.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/ins.h"
#include "lib/fdpass.h"

void uplink_send_value(const struct broker_msg *m, const uint8_t *value, uint32_t n, const int fds[2])
{
	struct iovec iov[] = { { (void *)(mw_uintptr)m, sizeof(*m) }, { (void *)(mw_uintptr)value, n } };

	if (fdpass_sendv(INS_BROKER_FD, iov, 2, fds, fds[0] < 0 ? 0 : 2, 0) < 0)
		_exit(1);
}

void uplink_send(const struct broker_msg *m, int fd)
{
	if (fdpass_send(INS_BROKER_FD, m, sizeof(*m), &fd, fd >= 0, 0) < 0)
		_exit(1);
}

void uplink_event(void)
{
	static uint8_t value[BM_VALUE_MAX];
	struct broker_msg m;
	struct iovec iov[] = { { &m, sizeof(m) }, { value, sizeof(value) } };
	int fds[EXTRA_MAX] = { -1, -1 }, count = EXTRA_MAX;
	ssize_t n = fdpass_recvv(INS_BROKER_FD, iov, 2, fds, &count, MSG_DONTWAIT);

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n < (ssize_t)sizeof(m))
		_exit(n == 0 ? 0 : 1);
	if (m.kind >= BM_SHARE)
		share_event(&m, value, fds);
	op_broker_answer(&m, fds, count);
}
