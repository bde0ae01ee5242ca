// SPDX-License-Identifier: Apache-2.0
/*
 * filter.c - which system calls of a target are answered by the supervisor.
 * Trust: none needed: what is let through works on files and UNIX sockets alone.
 *
 * read, write, close, dup, poll and epoll are not in it: on the stream lane they work on the descriptor itself.
 * Neither are send() and recv() without an address, as far as their flags mean the same on a doorbell.
 * io_uring could do socket calls past the filter, so it does not exist here; programs fall back.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/device.h"
#include "trap/trap.h"

#define ODD_FLAGS (MSG_OOB | MSG_ERRQUEUE | MSG_TRUNC | MSG_FASTOPEN)

static const int always[] = {
	SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(connect), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(shutdown), SCMP_SYS(sendmsg),
	SCMP_SYS(recvmsg), SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg),
};

static const int absent[] = { SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register) };

static const int families[] = { AF_INET, AF_INET6, AF_PACKET, AF_NETLINK }; /* the first two are the device's, too */

static const int addressed[] = { SCMP_SYS(sendto), SCMP_SYS(recvfrom) };

/* The kernel takes 32 bits of a request. */
static const struct {
	uint32_t mask, request;
} requests[] = {
	{ ~0u, FIONREAD }, { ~0u, SIOCOUTQ }, { ~0u, SIOCGSTAMP_NEW }, { ~0u, SIOCGSTAMPNS_NEW },
	{ ~0xffu, 0x8900 }, /* the others of sockets and interfaces */
};

static int add_ioctls(scmp_filter_ctx f)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_NOTIFY, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, requests[i].mask, requests[i].request));
	return r;
}

static int add_families(scmp_filter_ctx f, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_NOTIFY, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff, (scmp_datum_t)families[i]));
	return r;
}

static int add_rules(scmp_filter_ctx f)
{
	int r;

	if (device_used()) /* whose sockets are the kernel's in all but their making */
		return add_families(f, 2);
	r = add_ioctls(f);
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_NOTIFY, always[i], 0);
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]) && r == 0; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), absent[i], 0);
	if (r == 0)
		r = add_families(f, sizeof(families) / sizeof(families[0]));
	for (size_t i = 0; i < sizeof(addressed) / sizeof(addressed[0]) && r == 0; i++) {
		r = seccomp_rule_add(f, SCMP_ACT_NOTIFY, addressed[i], 1, SCMP_A4(SCMP_CMP_NE, 0));
		for (unsigned int bit = 1; bit && r == 0; bit <<= 1)
			if (ODD_FLAGS & bit)
				r = seccomp_rule_add(f, SCMP_ACT_NOTIFY, addressed[i], 1,
						     SCMP_A3(SCMP_CMP_MASKED_EQ, bit, bit));
	}
	return r;
}

/* Privileged users keep set-user-ID programs working; others may only filter without them. */
static int load(scmp_filter_ctx f)
{
	int r = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0);

	if (r == 0)
		r = seccomp_load(f);
	if (r != -EACCES && r != -EPERM)
		return r;
	r = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 1);
	return r == 0 ? seccomp_load(f) : r;
}

/* Who runs with another effective user may have it without its being in effect. */
bool filter_allowed(void)
{
	const cap_value_t wanted = CAP_SYS_ADMIN;
	cap_t caps = cap_get_proc();
	bool yes = caps && cap_set_flag(caps, CAP_EFFECTIVE, 1, &wanted, CAP_SET) == 0 && cap_set_proc(caps) == 0;

	cap_free(caps);
	return yes || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

int filter_install(void)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!f)
		return -ENOMEM;
	r = seccomp_attr_set(f, SCMP_FLTATR_API_SYSRAWRC, 1);
	if (r == 0)
		r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (r == 0)
		r = add_rules(f);
	if (r == 0)
		r = load(f);
	if (r == 0)
		r = seccomp_notify_fd(f);
	if (r >= 0)
		r = dup(r); /* release() closes its own */
	seccomp_release(f);
	return r;
}
