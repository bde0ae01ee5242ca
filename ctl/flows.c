// SPDX-License-Identifier: Apache-2.0
/*
 * flows.c - `mw flows`: connections now.
 * Trust: as in telem/flow.h.
 */
#include <stdio.h>
#include <time.h>

#include "ctl/clean.h"
#include "ctl/ctl.h"
#include "lib/addr.h"
#include "telem/flow.h"

struct flows {
	bool json, follow, header;
};

static void help(void)
{
	printf("Usage: mw flows [OPTIONS] [NAME]\n\n"
	       "Lists the connections of the application NAME, or of all.\n\n"
	       "  -f, --follow  go on: a line when a connection opens, and one when it closes\n"
	       "  --json        one JSON object a line; fields are in mw-flows(5)\n"
	       "  -h, --help    this text\n");
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void flows_json(const char *event, const struct flow *f)
{
	char line[FLOW_LINE_BYTES];

	fwrite(line, 1, flow_line(event, f, line), stdout);
}

static void print_row(const char *name, const struct flow *f)
{
	char peer[ADDR_TEXT_BYTES], local[ADDR_TEXT_BYTES], comm[32];
	uint64_t now = now_ns();

	comm_of(f->f.pid, comm);
	printf("%-12s %-5s %-11s %-26s %-22s %8.1f %8.1f %10llu %10llu %7llu %7llu %7u %s\n", name,
	       flow_type_name(f->f.type), flow_state_name(f->f.state), addr_text(&f->f.peer, peer), addr_text(&f->f.local, local), flow_age_s(f, now), flow_idle_s(f, now),
	       (unsigned long long)f->f.rx_bytes, (unsigned long long)f->f.tx_bytes, (unsigned long long)f->unread,
	       (unsigned long long)f->unsent, f->f.pid, clean_text(comm));
}

static void print_header(void)
{
	printf("%-12s %-5s %-11s %-26s %-22s %8s %8s %10s %10s %7s %7s %7s %s\n", "APP", "PROTO", "STATE", "PEER", "LOCAL", "AGE(s)",
	       "IDLE(s)", "RX", "TX", "UNREAD", "UNSENT", "PID", "COMMAND");
}

static void print(const struct app *a, struct flows *o, const struct flow *f)
{
	if (o->json) {
		flows_json("flow", f);
		return;
	}
	if (!o->header)
		print_header();
	o->header = true;
	print_row(a->name, f);
}

/* Those that linger in the kernel are shown if it was just asked; nothing else says when they are gone. */
static int show(struct app *a, void *arg)
{
	bool fresh = control_fresh(a->name, a->view.ins);
	uint32_t slots = flow_slots_high(&a->view), lingers = fresh ? flow_lingers_high(&a->view) : 0;
	struct flow f;

	for (uint32_t i = 0; i < slots; i++)
		if (flow_read(&a->view, i, &f))
			print(a, arg, &f);
	for (uint32_t i = 0; i < lingers; i++)
		if (flow_read_linger(&a->view, i, &f))
			print(a, arg, &f);
	return 0;
}

int cmd_flows(int argc, char **argv)
{
	static const struct option longs[] = { { "json", 0, NULL, 'j' }, { "follow", 0, NULL, 'f' },
					       { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct flows o = { 0 };
	int c;

	while ((c = usage_option("flows", argc, argv, ":fh", longs)) != -1) {
		switch (c) {
		case 'j':
			o.json = true;
			break;
		case 'f':
			o.follow = true;
			break;
		case 'h':
			help();
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind > 1)
		return usage_error("flows", "takes one name, not '%s' too", argv[optind + 1]);
	return o.follow ? flows_follow(argv[optind], o.json) : ask_each(argv[optind], show, &o);
}
