/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab.h - a "host" with two neighbours in namespaces of their own, which vanish with this program. Used by net_test.c and probe.c.
 * Whatever does not work here fails the running test.
 *
 *    client                         "host"                                INS (one for each application)
 *   +----------------+        +--------------------------+        +---------------------------+
 *   | c0 192.0.2.2   |--veth--| h0 192.0.2.1             |        | eth0 10.237.x.y           |
 *   |    2001:db8::2 |        |    2001:db8::1           |--veth--|      fd6d:7763:6f6d:s::2  |
 *   +----------------+        |                  mw-ssss |        | server on 80 and 8000,    |
 *    other                    |                          |        | uid 65534                 |
 *   +----------------+        |                          |        +---------------------------+
 *   | o0 198.51.100.2|--veth--| h1 198.51.100.1          |
 *   |  2001:db8:1::2 |        |    2001:db8:1::1         |
 *   +----------------+        +--------------------------+
 */
#ifndef MW_TEST_NET_LAB_H
#define MW_TEST_NET_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define HOST4 "192.0.2.1"
#define HOST6 "2001:db8::1"
#define CLIENT4 "192.0.2.2"
#define CLIENT6 "2001:db8::2"
#define OTHER4 "198.51.100.2"
#define OTHER6 "2001:db8:1::2"

enum { LAB_MAX_PIDS = 16 };

struct lab {
	int home, host, client, other;	/* network namespaces; home is where the program began */
	pid_t pids[LAB_MAX_PIDS];	/* killed by lab_teardown */
	size_t pid_count;
	char *rules;			/* of the host, before */
};

extern struct lab lab;

/* Of cmocka, around each test, which starts in the host. */
int lab_setup(void **state);
int lab_teardown(void **state);

void lab_enter(int ns);

/* A new namespace as the kernel makes it: what a broker has before net_open. The descriptor is the caller's to close. */
int lab_ns_raw(void);

/* What that command prints, run where the caller is; the caller's to free. */
char *lab_nft(const char *command);

/* Whether the rules where the caller is are those of the host before. */
bool lab_rules_are_back(void);

/* These three enter the host and stay there. The last: nothing of ours is left on it, and everything of others is as it was. */
int lab_sysctl(const char *key);
bool lab_has_if(const char *name);
void lab_expect_clean(void);

#endif
