// SPDX-License-Identifier: Apache-2.0
/*
 * ins_host.c - see ins_host.h.
 * Trust: as in the header.
 */
#include <fcntl.h>
#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/state.h"
#include "link/broker.h"
#include "link/memfd.h"
#include "test/fuzz/input.h"
#include "test/fuzz/ins_host.h"

/* --- the state, in pieces --- */

int state_make(uint32_t slots)
{
	(void)slots;
	return 0;
}

int state_open(int fd)
{
	return -fd;
}

uint32_t state_slots(void)
{
	return HOST_SLOTS;
}

void *state_block(const char *name, size_t bytes)
{
	(void)name;
	return calloc(1, bytes);
}

int state_complete(void)
{
	return 0;
}

const char *state_misfit(void)
{
	return "";
}

/* --- the network --- */

void host_loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int s = socket(AF_INET, SOCK_DGRAM, 0), f;

	must(ioctl(s, SIOCSIFFLAGS, &r) == 0);
	close(s);
	f = open("/proc/sys/net/ipv4/tcp_max_tw_buckets", O_WRONLY);
	must(f < 0 || write(f, "0", 1) == 1); /* thousands of connections a second */
	close(f);
}

static void to_fd(int from, int to)
{
	must(from >= 0 && dup2(from, to) == to);
}

void host_descriptors(struct host *h)
{
	int pair[2], high;

	high = fcntl(0, F_DUPFD, 40);
	to_fd(high, INS_LISTEN_FD);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	h->broker = fcntl(pair[0], F_DUPFD, 41);
	to_fd(fcntl(pair[1], F_DUPFD, 42), INS_BROKER_FD);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	h->operator = fcntl(pair[0], F_DUPFD, 43);
	to_fd(fcntl(pair[1], F_DUPFD, 44), INS_VERBS_FD);
	h->wake = fcntl(eventfd(0, EFD_NONBLOCK), F_DUPFD, 45);
	to_fd(h->wake, INS_WAKE_FD);
	to_fd(fcntl(memfd_make_plain("reader", MW_PAGE, (void **)&h->reader), F_DUPFD, 46), INS_READER_FD);
	to_fd(fcntl(memfd_make_plain("roster", MW_PAGE, &(void *){ NULL }), F_DUPFD, 47), INS_ROSTER_FD);
}
