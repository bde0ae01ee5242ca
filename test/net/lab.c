/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and unmakes the lab; what others left on the host must outlive our broker unchanged. */
#include "test/net/lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/netfwd.h"
#include "broker/rtnl.h"
#include "broker/sysctl.h"

struct lab lab;

static const char foreign[] =
	"table ip foreign {\n"
	"	chain prerouting { type nat hook prerouting priority -100; policy accept;\n"
	"		tcp dport 1 dnat to 192.0.2.77\n"
	"	}\n"
	"	chain forward { type filter hook forward priority 0; policy accept;\n"
	"		tcp dport 2 counter drop\n"
	"	}\n"
	"}\n"
	"table inet mwx {\n"
	"	set s { type inet_service; elements = { 1, 2 }\n"
	"	}\n"
	"}\n";

/* ---- namespaces ---- */

void lab_enter(int ns)
{
	if (setns(ns, CLONE_NEWNET))
		fail_msg("setns: %s", strerror(errno));
}

/* A new network namespace with `lo` up; the caller stays where it was. */
static int ns_new(void)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd, nl;

	assert_true(here >= 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	nl = rtnl_open();
	assert_int_equal(rtnl_link_up(nl, 1, NULL), 0);
	close(nl);
	lab_enter(here);
	close(here);
	return fd;
}

int lab_ns_raw(void)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	lab_enter(here);
	close(here);
	return fd;
}

static void end_up(int ns, const char *name, const char *a4, const char *a6)
{
	unsigned index;
	int nl;

	lab_enter(ns);
	nl = rtnl_open();
	index = if_nametoindex(name);
	assert_int_equal(sysctl_write(0, "net/ipv6/conf/%s/accept_dad", name), 0);
	assert_int_equal(sysctl_write(0, "net/ipv6/conf/%s/dad_transmits", name), 0);
	assert_int_equal(rtnl_link_up(nl, index, NULL), 0);
	assert_int_equal(rtnl_addr_add(nl, index, a4, 24), 0);
	assert_int_equal(rtnl_addr_add(nl, index, a6, 64), 0);
	close(nl);
}

static void neighbour(int ns, const char *name, const char *host_if, const char *h4, const char *h6, const char *a4,
		      const char *a6)
{
	int nl;

	lab_enter(lab.host);
	nl = rtnl_open();
	assert_int_equal(rtnl_veth_add(nl, host_if, name, ns), 0);
	close(nl);
	end_up(lab.host, host_if, h4, h6);
	end_up(ns, name, a4, a6);
	nl = rtnl_open();
	assert_int_equal(rtnl_route_default(nl, if_nametoindex(name), h4), 0);
	assert_int_equal(rtnl_route_default(nl, if_nametoindex(name), h6), 0);
	close(nl);
	lab_enter(lab.host);
}

/* ---- the host's rules ---- */

char *lab_nft(const char *command)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	char *out;

	nft_ctx_buffer_output(ctx);
	nft_ctx_buffer_error(ctx);
	if (nft_run_cmd_from_buffer(ctx, command))
		fail_msg("nft %s: %s", command, nft_ctx_get_error_buffer(ctx));
	out = strdup(nft_ctx_get_output_buffer(ctx));
	nft_ctx_free(ctx);
	return out;
}

/* ---- setup, teardown ---- */

int lab_setup(void **state)
{
	(void)state;
	memset(&lab, 0, sizeof(lab));
	lab.home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	lab.host = ns_new();
	lab.client = ns_new();
	lab.other = ns_new();
	neighbour(lab.client, "c0", "h0", HOST4, HOST6, CLIENT4, CLIENT6);
	neighbour(lab.other, "o0", "h1", "198.51.100.1", "2001:db8:1::1", OTHER4, OTHER6);
	lab_enter(lab.host);
	free(lab_nft(foreign));
	lab.rules = lab_nft("list ruleset");
	return 0;
}

int lab_teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < lab.pid_count; i++)
		if (lab.pids[i] > 0) {
			kill(lab.pids[i], SIGKILL);
			waitpid(lab.pids[i], NULL, 0);
		}
	lab_enter(lab.home);
	close(lab.host);
	close(lab.client);
	close(lab.other);
	close(lab.home);
	free(lab.rules);
	netfwd_old_kernel = false;
	return 0;
}

/* ---- what the host looks like ---- */

int lab_sysctl(const char *key)
{
	int value = -1;

	lab_enter(lab.host);
	assert_int_equal(sysctl_read(&value, "%s", key), 0);
	return value;
}

bool lab_has_if(const char *name)
{
	lab_enter(lab.host);
	return if_nametoindex(name);
}

bool lab_rules_are_back(void)
{
	char *rules = lab_nft("list ruleset");
	bool same = !strcmp(rules, lab.rules);

	free(rules);
	return same;
}

void lab_expect_clean(void)
{
	struct if_nameindex *ifs;
	char *rules;

	lab_enter(lab.host);
	rules = lab_nft("list ruleset");
	assert_string_equal(rules, lab.rules);
	free(rules);
	ifs = if_nameindex();
	for (struct if_nameindex *i = ifs; i->if_index; i++)
		assert_null(strstr(i->if_name, "mw-"));
	if_freenameindex(ifs);
	assert_int_equal(lab_sysctl("net/ipv4/conf/h0/forwarding"), 0);
	assert_int_equal(lab_sysctl("net/ipv4/conf/h0/tag"), 0);
	assert_int_equal(lab_sysctl("net/ipv6/conf/all/forwarding"), 0);
	assert_int_equal(lab_sysctl("net/ipv6/conf/h0/forwarding"), 0);
	assert_int_equal(lab_sysctl("net/ipv6/conf/h0/accept_ra"), 1);
}
