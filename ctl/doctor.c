// SPDX-License-Identifier: Apache-2.0
/*
 * doctor.c - `mw doctor`: what is not protected or cannot be, and what to do.
 * Trust: /proc, and counters that the application writes about itself.
 *
 * A process belongs to an application when it is in its network namespace. The shim is active in it when the
 * library is mapped; an IP socket in that namespace was made past the shim, and reaches nothing.
 */
#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/registry.h"
#include "ctl/clean.h"
#include "ctl/ctl.h"
#include "ctl/doctor.h"

static const char *const refused_names[MW_REFUSED_NUM] = {
	[MW_REFUSED_DGRAM] = "datagram sockets that are not UDP or UDP-Lite (EACCES, EPROTONOSUPPORT)",
	[MW_REFUSED_RAW] = "raw sockets (EPERM)",
	[MW_REFUSED_PACKET] = "packet sockets (EPERM)",
	[MW_REFUSED_OTHER] = "other socket types (ESOCKTNOSUPPORT, EPROTONOSUPPORT)",
};

static const char *const not_yet[] = {
	"raw and packet sockets and ICMP: refused with EPERM, EACCES; ports of UDP-Lite: not published",
	"UDP: IP_RECVERR (ENOPROTOOPT); an ICMP error shows as POLLIN, not POLLERR; what comes after shutdown(SHUT_RD)",
	"raw system calls of a dynamic program: its reads and large writes fail; run it with --lane stream",
	"stream lane: a plain read or write of an unconnected UDP socket, refusals (ICMP) that a plain read waits for",
	"a second connect() on a socket whose first, non-blocking one failed: ECONNABORTED; make a new socket",
	"POLLPRI: urgent data raises SIGURG and can be taken, but poll() does not show it (with --lane stream it does)",
	"MSG_ERRQUEUE, and the options whose results wait there (SO_ZEROCOPY, stamps of sent packets)",
	"kernel TLS (programs use their own), TCP_REPAIR, IPsec policies; close() does not wait for SO_LINGER",
	"sockets handed to a process outside the application",
	"files of /proc/net and /sys/class/net: they tell of the application's own, empty network",
};

static void say(const char *mark, const char *format, va_list ap)
{
	printf("  %s ", mark);
	vprintf(format, ap);
	putchar('\n');
}

#define SAY(mark) \
	do { \
		va_list ap_; \
		va_start(ap_, format); \
		say(mark, format, ap_); \
		va_end(ap_); \
	} while (0)

void report_head(struct report *r, const char *format, ...)
{
	va_list ap;

	(void)r;
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

void report_ok(struct report *r, const char *format, ...)
{
	(void)r;
	SAY("ok     ");
}

void report_note(struct report *r, const char *format, ...)
{
	(void)r;
	SAY("note   ");
}

void report_problem(struct report *r, const char *advice, const char *format, ...)
{
	r->problems++;
	SAY("PROBLEM");
	printf("          -> %s\n", advice);
}

/* --- one process --- */

static bool mapped(pid_t pid, const char *what)
{
	char path[64], line[512];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, what);
	if (f)
		fclose(f);
	return found;
}

/* Under mw-trap's filter, or at least one of its own. */
static bool trapped(pid_t pid)
{
	char path[64], line[256];
	int filters = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "Seccomp_filters: %d", &filters) != 1)
		;
	if (f)
		fclose(f);
	return filters > 0;
}

static void check_process(struct report *r, pid_t pid)
{
	char comm[32];

	comm_of((uint32_t)pid, comm);
	clean_text(comm);
	if (mapped(pid, "libmwshim.so"))
		report_ok(r, "process %d (%s): the shim is active", (int)pid, comm);
	else if (!strcmp(comm, "mw-trap"))
		report_ok(r, "process %d (%s): answers the system calls of others", (int)pid, comm);
	else if (trapped(pid))
		report_ok(r, "process %d (%s): its system calls are trapped", (int)pid, comm);
	else
		report_problem(r, "it dropped LD_PRELOAD, or is set-user-ID or static; its network calls reach nothing: try --lane stream",
			       "process %d (%s): the shim is not active", (int)pid, comm);
}

/* --- the namespace --- */

static ino_t netns_of(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static size_t each_in(ino_t netns, struct report *r, pid_t *one)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	while (d && (e = readdir(d))) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid <= 0 || netns_of(pid) != netns)
			continue;
		n++;
		*one = pid;
		if (r)
			check_process(r, pid);
	}
	if (d)
		closedir(d);
	return n;
}

/* Sockets of one kind in the namespace of `pid`, past the header line. */
static int count_lines(pid_t pid, const char *file)
{
	char path[64], line[512];
	int n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)pid, file);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		n++;
	if (f)
		fclose(f);
	return n < 0 ? 0 : n;
}

static void check_bypass(struct report *r, pid_t pid)
{
	static const char *const kinds[] = { "tcp", "tcp6", "udp", "udp6", "udplite", "raw", "raw6", "packet", "icmp" };
	int total = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int n = count_lines(pid, kinds[i]);

		total += n;
		if (n)
			report_problem(r, "find the process above without the shim; what these sockets send reaches nothing",
				       "%d %s socket(s) were made past the shim", n, kinds[i]);
	}
	if (!total)
		report_ok(r, "no IP socket in the application's own namespace");
}

static void check_counters(struct report *r, struct app *a)
{
	struct mw_arena *m = (struct mw_arena *)(mw_uintptr)arena_header(&a->view.arena);
	struct mw_tele *t = (struct mw_tele *)(mw_uintptr)tele_header(&a->view.tele);

	for (uint32_t i = 0; i < MW_REFUSED_NUM; i++)
		if (mw_load(&m->refused[i]))
			report_problem(r, "not done yet: the application was told so by errno",
				       "refused %llu times: %s", (unsigned long long)mw_load(&m->refused[i]), refused_names[i]);
	if (mw_load(&t->violations))
		report_problem(r, "the application wrote what no honest shim writes: is it compromised?",
			       "%llu sockets quarantined by the INS", (unsigned long long)mw_load(&t->violations));
	if (mw_load(&m->app_violations))
		report_problem(r, "the INS wrote what no honest INS writes: restart it, and report this",
			       "%llu sockets given up by the shim", (unsigned long long)mw_load(&m->app_violations));
}

struct wanted {
	struct report *r;
	pid_t pid; /* a single process, or 0 */
	bool found;
};

static int check_app(struct app *a, void *arg)
{
	struct wanted *w = arg;
	pid_t ins = (pid_t)json_integer_value(json_object_get(a->info, "ins_pid")), member = 0;
	ino_t netns = (ino_t)json_integer_value(json_object_get(a->info, "netns"));

	if (!a->first) { /* the rest is the application's, whatever INS it is on */
		if (!w->pid)
			check_counters(w->r, a);
		return 0;
	}
	if (w->pid && netns_of(w->pid) != netns)
		return 0;
	w->found = true;
	report_head(w->r, "%s (--net %s, INS %d)", a->name, json_string_value(json_object_get(a->info, "net")), (int)ins);
	if (json_is_true(json_object_get(a->info, "host_loopback")))
		report_note(w->r, "--host-loopback: it can connect to everything that listens on the host's 127.0.0.1 and ::1");
	if (w->pid) {
		check_process(w->r, w->pid);
		member = w->pid;
	} else if (!each_in(netns, w->r, &member)) {
		report_note(w->r, "no process is left in it");
		return 0;
	}
	check_bypass(w->r, member);
	check_counters(w->r, a);
	return 0;
}

static void help(void)
{
	printf("Usage: mw doctor [NAME|PID]\n\n"
	       "Says what is not protected, or cannot be, and what to do: about this machine and every\n"
	       "application, or about one application or one process. A number is an application's name if\n"
	       "there is one of that name. Exit status 1 when there is a problem.\n");
}

static void list_not_yet(void)
{
	printf("not done yet, in any application\n");
	for (size_t i = 0; i < sizeof(not_yet) / sizeof(not_yet[0]); i++)
		printf("  -       %s\n", not_yet[i]);
}

struct looked_for {
	const char *name;
	bool found;
};

static void compare(const char *name, void *arg)
{
	struct looked_for *l = arg;

	l->found = l->found || !strcmp(name, l->name);
}

/* 0: an application is meant: there is one of that name, or it is no number of a process. */
static pid_t process_of(const char *what)
{
	struct looked_for l = { .name = what };
	char *end;
	long pid = strtol(what, &end, 10);

	if (*end || pid < 1 || pid > INT_MAX)
		return 0;
	registry_each(compare, &l);
	return l.found ? 0 : (pid_t)pid;
}

static int check_one(struct report *r, const char *what)
{
	struct wanted w = { .r = r, .pid = process_of(what) };
	int status = ask_each(w.pid ? NULL : what, check_app, &w);

	if (w.pid && !w.found) {
		report_problem(r, "start it with `mw run`", "process %d is in no protected application", (int)w.pid);
		status = EXIT_PROBLEM;
	}
	return status;
}

int cmd_doctor(int argc, char **argv)
{
	static const struct option longs[] = { { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct report r = { 0 };
	struct wanted w = { .r = &r };
	int c, status;

	while ((c = usage_option("doctor", argc, argv, ":h", longs)) != -1) {
		if (c != 'h')
			return EXIT_USAGE;
		help();
		return EXIT_OK;
	}
	if (argc - optind > 1)
		return usage_error("doctor", "takes one name or process id, not '%s' too", argv[optind + 1]);
	if (optind < argc) {
		status = check_one(&r, argv[optind]);
	} else {
		host_check(&r);
		status = ask_each(NULL, check_app, &w);
		list_not_yet();
	}
	return status ? status : r.problems ? EXIT_PROBLEM : EXIT_OK;
}
