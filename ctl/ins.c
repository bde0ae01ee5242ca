// SPDX-License-Identifier: Apache-2.0
/*
 * ins.c - `mw ins`: the stacks of an application: listed, added, drained, killed, upgraded.
 * Trust: the broker's answer is parsed by jansson and looked up by name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "broker/heir.h"
#include "broker/registry.h"
#include "ctl/clean.h"
#include "ctl/ctl.h"

#define ANSWER_BYTES (1u << 18)
#define LOOK_MS      200
#define NUMBER_MAX   99999999 /* as in registry/entry.h: a domain of Xen's may have any */
#define WAIT_S       60 /* for an INS to start */

enum { GONE = -1, UNKNOWN = -2 };

static void help(void)
{
	printf("Usage: mw ins list [--json] [NAME]\n"
	       "       mw ins add NAME\n"
	       "       mw ins drain [--wait] NAME N\n"
	       "       mw ins kill NAME N\n"
	       "       mw ins upgrade NAME [N|all]\n\n"
	       "Lists the isolated network stacks of the application NAME, or of all, or changes which there are.\n\n"
	       "  add           start one more; it gets every listener, and its share of new connections\n"
	       "  drain         number N gets no new connections; those that it has go on\n"
	       "  kill          end number N at once, with its connections; others are not affected\n"
	       "  upgrade       number N, or each in turn, goes on as the mw-ins that is on the disk now; nothing is lost\n\n"
	       "  --json        one JSON object a line; fields are in mw-registry(5)\n"
	       "  --wait        until it has no connection left, then end it\n"
	       "  -h, --help    this text\n");
}

/* The answer, the caller's; NULL: it is said what is wrong. Takes the request. */
static json_t *request(const char *name, json_t *q)
{
	int fd = registry_connect(name, "ins-ctl", SOCK_SEQPACKET);
	struct timeval patience = { .tv_sec = WAIT_S };
	char *text = json_dumps(q, JSON_COMPACT), *in = malloc(ANSWER_BYTES);
	const char *error;
	ssize_t n = -1;
	json_t *a = NULL;

	json_decref(q);
	if (fd < 0)
		ask_absent(name);
	else
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (fd >= 0 && text && in && send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0)
		n = recv(fd, in, ANSWER_BYTES, 0);
	if (n > 0)
		a = json_loadb(in, (size_t)n, 0, NULL);
	if (!json_is_object(a)) {
		json_decref(a);
		a = NULL;
	}
	if (fd >= 0 && !a && n <= 0 && heir_wanted(name, false))
		ask_absent(name);
	else if (fd >= 0 && !a)
		fprintf(stderr, "mw: %s %s\n", name, n > 0 ? "answers what this mw does not understand" : "does not answer");
	error = a ? json_string_value(json_object_get(a, "error")) : NULL;
	if (error) {
		fprintf(stderr, "mw: %s: %s\n", name, error);
		json_decref(a);
		a = NULL;
	}
	if (fd >= 0)
		close(fd);
	free(text);
	free(in);
	return a;
}

static double number_of(const json_t *j, const char *name)
{
	return json_number_value(json_object_get(j, name));
}

static const char *string_of(const json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));

	return s ? s : "";
}

static void print_row(const json_t *e)
{
	const json_t *load = json_object_get(e, "load"), *ports = json_object_get(e, "ports");
	struct timespec t;
	double beat;

	clock_gettime(CLOCK_REALTIME, &t);
	beat = (double)t.tv_sec + (double)t.tv_nsec / 1e9 - number_of(e, "heartbeat");
	printf("%-16s %4d %-8s %-15s %-24s %7.1f %5.0f%% %7d %7.0f %8d %8d %6d %8d ", string_of(e, "app"), (int)number_of(e, "ins"), string_of(e, "state"),
	       string_of(e, "address"), string_of(e, "address6"), beat > 0 ? beat : 0,
	       number_of(load, "cpu") * 100, (int)number_of(load, "connections"), number_of(load, "rate"), (int)number_of(e, "keeper_pid"),
	       (int)number_of(e, "worker_pid"), (int)number_of(e, "restarts"), (int)number_of(e, "upgrades"));
	for (size_t i = 0; i < json_array_size(ports); i++)
		printf("%s%d%s", i ? "," : "", (int)number_of(json_array_get(ports, i), "port"),
		       strcmp(string_of(json_array_get(ports, i), "proto"), "udp") ? "" : "/udp");
	printf("%s\n", json_array_size(ports) ? "" : "-");
}

struct list {
	bool json, header;
	int status;
};

static void list_one(const char *name, void *arg)
{
	struct list *l = arg;
	json_t *a = request(name, json_pack("{s:s}", "do", "list")), *all = json_object_get(a, "ins");

	if (!a) {
		l->status = EXIT_PROBLEM;
		return;
	}
	for (size_t i = 0; i < json_array_size(all); i++) {
		if (l->json) {
			clean_print(json_array_get(all, i));
			continue;
		}
		if (!l->header)
			printf("%-16s %4s %-8s %-15s %-24s %7s %6s %7s %7s %8s %8s %6s %8s %s\n", "APP", "INS", "STATE", "ADDRESS", "ADDRESS6",
			       "BEAT(s)", "CPU", "CONNS", "NEW/s", "KEEPER", "WORKER", "DEATHS", "UPGRADES", "PORTS");
		l->header = true;
		print_row(json_array_get(all, i));
	}
	json_decref(a);
}

static int list(const char *name, bool as_json)
{
	struct list l = { .json = as_json };

	if (name)
		list_one(name, &l);
	else
		registry_each(list_one, &l);
	return l.status;
}

static int change(const char *what, const char *name, json_int_t number)
{
	json_t *q = json_pack("{s:s}", "do", what), *a;

	if (number >= 0)
		json_object_set_new(q, "ins", json_integer(number));
	a = request(name, q);
	if (a && number < 0)
		printf("%d\n", (int)number_of(a, "ins"));
	json_decref(a);
	return a ? EXIT_OK : EXIT_PROBLEM;
}

/* All, one after the other: those that there are now. */
static int upgrade_all(const char *name)
{
	json_t *a = request(name, json_pack("{s:s}", "do", "list")), *all = json_object_get(a, "ins");
	int r = a ? EXIT_OK : EXIT_PROBLEM;

	for (size_t i = 0; r == EXIT_OK && i < json_array_size(all); i++)
		r = change("upgrade", name, json_integer_value(json_object_get(json_array_get(all, i), "ins")));
	json_decref(a);
	return r;
}

/* Connections that it has; GONE: it has ended; UNKNOWN: it is said why. */
static long left_on(const char *name, json_int_t number)
{
	json_t *a = request(name, json_pack("{s:s}", "do", "list")), *all = json_object_get(a, "ins");
	long n = a ? GONE : UNKNOWN;

	for (size_t i = 0; i < json_array_size(all); i++)
		if (json_integer_value(json_object_get(json_array_get(all, i), "ins")) == number)
			n = (long)number_of(json_object_get(json_array_get(all, i), "load"), "connections");
	json_decref(a);
	return n;
}

static int drain(const char *name, json_int_t number, bool wait)
{
	struct timespec step = { .tv_nsec = LOOK_MS * 1000000 };
	int r = change("drain", name, number);
	long left;

	if (r || !wait)
		return r;
	while ((left = left_on(name, number)) > 0)
		nanosleep(&step, NULL);
	if (left == UNKNOWN)
		return EXIT_PROBLEM;
	return left == GONE ? EXIT_OK : change("kill", name, number);
}

static bool parse_number(const char *text, json_int_t *out)
{
	char *end;

	*out = strtol(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && !*end && *out <= NUMBER_MAX;
}

static int carry_out(char **argv, int argc, bool as_json, bool wait)
{
	json_int_t n = -1;

	if (!strcmp(argv[0], "list") && argc <= 2)
		return list(argv[1], as_json);
	if (!strcmp(argv[0], "add") && argc == 2)
		return change("add", argv[1], -1);
	if (!strcmp(argv[0], "upgrade") && (argc == 2 || (argc == 3 && !strcmp(argv[2], "all"))))
		return upgrade_all(argv[1]);
	if ((strcmp(argv[0], "drain") && strcmp(argv[0], "kill") && strcmp(argv[0], "upgrade")) || argc != 3)
		return usage_error("ins", "is list [NAME], add NAME, drain NAME N, kill NAME N or upgrade NAME [N|all]");
	if (!parse_number(argv[2], &n))
		return usage_error("ins", "'%s' is not the number of an INS: `mw ins list` tells", argv[2]);
	return argv[0][0] == 'd' ? drain(argv[1], n, wait) : change(argv[0], argv[1], n);
}

int cmd_ins(int argc, char **argv)
{
	static const struct option longs[] = { { "json", 0, NULL, 'j' }, { "wait", 0, NULL, 'w' }, { "help", 0, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	bool as_json = false, wait = false;
	int c;

	while ((c = usage_option("ins", argc, argv, ":h", longs)) != -1) {
		if (c == 'h') {
			help();
			return EXIT_OK;
		}
		if (c == '?')
			return EXIT_USAGE;
		as_json |= c == 'j';
		wait |= c == 'w';
	}
	if (optind == argc)
		return usage_error("ins", "is list, add, drain, kill or upgrade");
	return carry_out(argv + optind, argc - optind, as_json, wait);
}
