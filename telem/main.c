// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - mw-telem: telemetry of one application's INS. Sources in, exporters out, slow readers dropped; verbs to the INS.
 * Trust: command line and descriptors come from the broker.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/about.h"
#include "telem/metric.h"
#include "telem/ipfix.h"
#include "telem/netflow.h"
#include "telem/owner.h"
#include "telem/policy.h"
#include "telem/telem.h"

static const char help[] =
	"Usage: mw-telem NAME [WORD...]\n\n"
	"Telemetry of one INS of the application NAME. Is started by `mw run` and `mw xen serve`, which give it descriptors.\n\n"
	"  ins=N            the INS's number (default: 0)\n"
	"  sample-fast=MS   as `mw run --sample-fast` (default: 500)\n"
	"  sample-slow=S    as `mw run --sample-slow` (default: 30)\n"
	"  'ipfix KIND PORT NAME ADDRESS...'\n"
	"                   as `mw run --ipfix`: a collector, resolved; KIND is udp or tcp\n"
	"  'ipfix file FD PATH'\n"
	"                   a file, open for appending\n"
	"  'ipfix-timeout S'\n"
	"                   as `mw run --ipfix-timeout` (default: 60)\n"
	"  netflow-allow=PREFIX,...\n"
	"                   who may connect to the NetFlow stream by TCP; nothing: anybody\n"
	"  -h, --help       this text\n"
	"  --version        its version\n";

struct telem telem;

static struct watch broker;
static uint32_t given; /* bit for each descriptor */

MW_ASSERT(TELEM_BROKER_FD + TELEM_FDS < 32, "a bit for each descriptor");

static void see_given(void)
{
	for (int fd = TELEM_BROKER_FD; fd <= TELEM_BROKER_FD + (int)TELEM_FDS; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			given |= 1u << fd;
}

bool telem_given(int fd)
{
	return given >> fd & 1;
}

static void on_broker(struct watch *w, uint32_t events)
{
	if (events & EPOLLIN && owner_answers())
		return;
	if (!ipfix_wanted())
		_exit(0);
	loop_remove(w);
	ipfix_end();
}

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "mw-telem: cannot %s: %s\n", what, r == -EPROTO ? "it is of another version" : strerror(-r));
	_exit(1);
}

static int map_reader(void)
{
	void *base = mmap(NULL, SAMPLES_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, TELEM_READER_FD, 0);

	telem.reader = base;
	return base == MAP_FAILED ? -errno : 0;
}

/* "name=number" among the arguments. */
static uint32_t option(char **argv, const char *name, uint32_t other)
{
	for (; *argv; argv++)
		if (!strncmp(*argv, name, strlen(name)))
			return (uint32_t)strtoul(*argv + strlen(name), NULL, 10);
	return other;
}

int main(int argc, char **argv)
{
	int r = about("mw-telem", help, argc, argv);

	if (r >= 0)
		return r;
	see_given();
	if (argc < 2 || !telem_given(TELEM_BROKER_FD) || !telem_given(TELEM_TELE_FD)) {
		fprintf(stderr, "mw-telem: is started by `mw run`, not by hand\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	telem.app = argv[1];
	check(map_reader(), "map the memory for samples");
	check(flow_map(&telem.flows, telem.app, TELEM_ARENA_FD, TELEM_TELE_FD, TELEM_READER_FD), "map the INS's memory");
	telem.flows.ins = option(argv, "ins=", 0);
	check(loop_init(), "make an epoll instance");
	check(events_init(), "watch for events");
	check(verbs_init(), "reach the INS");
	check(policy_init(), "map the memory for verdicts");
	sample_init(option(argv, "sample-fast=", 500), option(argv, "sample-slow=", 30));
	metric_init();
	check(control_init(), "listen");
	check(metrics_init(), "serve metrics");
	check(ipfix_init(argv + 2), "export by IPFIX");
	check(netflow_init(argv + 2), "listen");
	broker = (struct watch){ TELEM_BROKER_FD, on_broker };
	check(loop_add(&broker, EPOLLIN), "watch the broker");
	check(sandbox_enter(), "give up privileges");
	r = send(TELEM_BROKER_FD, "r", 1, MSG_NOSIGNAL) < 0 ? -errno : 0; /* for it the broker waits; or it is gone, which on_broker hears */
	check(r == -EPIPE ? 0 : r, "tell the broker that it is ready");
	loop_run();
}
