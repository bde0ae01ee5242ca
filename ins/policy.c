// SPDX-License-Identifier: Apache-2.0
/*
 * policy.c - which socket options and ioctls are more than the stack's own business.
 * Trust: the application names any number. The INS has no capabilities and no files, so the kernel may be asked
 * nearly anything on its behalf: it answers as it would an unprivileged owner of the socket.
 *
 * Exceptions:
 *   - a value that holds an address or a descriptor means the application's memory and descriptors, never the INS's
 *   - what needs a privilege, and an application may have one, goes to the broker, which decides again for itself
 *   - what would change the bytes that the INS moves (kernel TLS), or send it records of a kind that it does not pass on
 */
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "ins/policy.h"

#define NAME_TCP_ULP 31              /* linux/tcp.h, which cannot be included beside netinet/tcp.h */
#define NAME_TCP_ZEROCOPY_RECEIVE 35

static const struct {
	int level, name;
	enum policy policy;
} special[] = {
	{ SOL_SOCKET, SO_ATTACH_FILTER, POLICY_PROGRAM },
	{ SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, POLICY_PROGRAM },
	{ SOL_SOCKET, SO_ATTACH_BPF, POLICY_DESCRIPTOR },
	{ SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, POLICY_DESCRIPTOR },
	{ SOL_SOCKET, SO_ZEROCOPY, POLICY_ZEROCOPY },
	{ SOL_SOCKET, SO_TIMESTAMPING_OLD, POLICY_STAMPS },
	{ SOL_SOCKET, SO_TIMESTAMPING_NEW, POLICY_STAMPS },
	{ IPPROTO_IP, IP_RECVERR, POLICY_ERRORS },
	{ IPPROTO_IPV6, IPV6_RECVERR, POLICY_ERRORS },
	{ IPPROTO_TCP, NAME_TCP_ULP, POLICY_ULP },
	{ IPPROTO_TCP, NAME_TCP_ZEROCOPY_RECEIVE, POLICY_MAP },
};

enum policy policy_option(int level, int name)
{
	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if (special[i].level == level && special[i].name == name)
			return special[i].policy;
	return POLICY_PLAIN;
}

/* Queries of the socket and of the interfaces of its network; none has a pointer in its argument but SIOCGIFCONF. */
static const unsigned int ioctls[] = {
	SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK, SIOCGSTAMP_OLD, SIOCGSTAMPNS_OLD, SIOCGSTAMP_NEW, SIOCGSTAMPNS_NEW,
	SIOCGIFCONF, SIOCGIFNAME, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFDSTADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK,
	SIOCGIFMETRIC, SIOCGIFMEM, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFPFLAGS, SIOCGIFCOUNT, SIOCGIFTXQLEN,
	SIOCGIFMAP, SIOCGIFENCAP, SIOCGIFSLAVE, SIOCSIFNAME, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFDSTADDR, SIOCSIFBRDADDR,
	SIOCSIFNETMASK, SIOCSIFMETRIC, SIOCSIFMTU, SIOCSIFHWADDR, SIOCSIFTXQLEN, SIOCSIFMAP, SIOCADDMULTI, SIOCDELMULTI,
	SIOCGARP, SIOCSARP, SIOCDARP,
};

bool policy_ioctl(unsigned int request)
{
	for (size_t i = 0; i < sizeof(ioctls) / sizeof(ioctls[0]); i++)
		if (ioctls[i] == request)
			return true;
	return false;
}

static const struct {
	int level, type;
} controls[] = {
	{ IPPROTO_IP, IP_PKTINFO },	   { IPPROTO_IP, IP_TTL },	 { IPPROTO_IP, IP_TOS },
	{ IPPROTO_IPV6, IPV6_PKTINFO },	   { IPPROTO_IPV6, IPV6_HOPLIMIT }, { IPPROTO_IPV6, IPV6_TCLASS },
	{ IPPROTO_IPV6, IPV6_DONTFRAG },
};

bool policy_control_ok(int level, int type)
{
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++)
		if (controls[i].level == level && controls[i].type == type)
			return true;
	return false;
}
