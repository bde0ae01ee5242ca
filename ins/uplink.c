// SPDX-License-Identifier: Apache-2.0
/*
 * uplink.c - to and from the broker, whose end of life is ours.
 * Trust: the broker is believed; a record of the wrong size ends us.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/journal.h"
#include "ins/op.h"
#include "ins/share.h"
#include "ins/upgrade.h"
#include "ins/uplink.h"
#include "lib/fdpass.h"
#include "link/broker.h"

static void send_all(const struct broker_msg *m, const uint8_t *value, uint32_t n, const int fds[2])
{
	struct iovec iov[] = { { (void *)(mw_uintptr)m, sizeof(*m) }, { (void *)(mw_uintptr)value, n } };

	if (deed_send(INS_BROKER_FD, iov, n ? 2 : 1, fds, (fds[0] >= 0) + (fds[1] >= 0), 0) < 0)
		_exit(EXIT_LOST);
}

void uplink_ask(const struct broker_msg *m, const uint8_t *value, uint32_t n, const int fds[2])
{
	deed_begin(DEED_REPLY, NULL);
	send_all(m, value, n, fds);
	job_end();
	deed_end();
}

/* Not about the job. */
static void send_plain(const struct broker_msg *m, const uint8_t *value, uint32_t n, const int *fds, int count)
{
	struct iovec iov[] = { { (void *)(mw_uintptr)m, sizeof(*m) }, { (void *)(mw_uintptr)value, n } };

	if (fdpass_sendv(INS_BROKER_FD, iov, n ? 2 : 1, fds, count, 0) < 0)
		_exit(EXIT_LOST);
}

void uplink_pass(const struct broker_msg *m, const uint8_t *value, uint32_t n)
{
	send_plain(m, value, n, NULL, 0);
}

void uplink_tell(const struct broker_msg *m, const int *fds, int count)
{
	send_plain(m, NULL, 0, fds, count);
}

void uplink_send(const struct broker_msg *m)
{
	send_plain(m, NULL, 0, NULL, 0);
}

static void answered(ssize_t n)
{
	int fds[EXTRA_MAX] = { -1, -1 }, count = job_fds(fds, EXTRA_MAX);

	const struct broker_msg *m = &journal->job.u.broker.msg;

	if (n < (ssize_t)sizeof(*m))
		_exit(EXIT_LOST);
	if (m->kind == BM_UPGRADE && count == 1) {
		upgrade_ask(fds[0]);
		job_end_of(JOB_BROKER);
		return;
	}
	if (m->kind >= BM_SHARE)
		share_event(m, journal->job.u.broker.value, fds);
	op_broker_answer(m, fds, count);
	job_end_of(JOB_BROKER);
}

void uplink_event(void)
{
	ssize_t n = job_take(JOB_BROKER, INS_BROKER_FD);

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0)
		_exit(n == 0 ? EXIT_ENDED : EXIT_LOST);
	answered(n);
}

void uplink_again(void)
{
	answered(job_bytes());
}
