// SPDX-License-Identifier: Apache-2.0
/*
 * transcript.c - see transcript.h.
 * Trust: a test's own processes.
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/transcript.h"

#define LINES 16384

/* The accepted differences: lines that match need not be equal. The reason is printed. */
static const struct difference {
	const char *pattern, *why;
} differences[] = {
	{ "fresh/*", "Linux says OUT|HUP of a TCP socket never connected; a doorbell cannot before it is hung up" },
	{ "*/SO_ZEROCOPY set*", "refused as on a socket that cannot: a notification would wait in a queue that the application cannot reach" },
	{ "*/SO_TIMESTAMPING* set*", "stamps of sent packets are refused, for the same reason" },
	{ "*/IP*_RECVERR set*", "refused to datagrams, for the same reason" },
	{ "*/TCP_REPAIR set*", "refused to root too: forges connections that the INS could not follow" },
	{ "*/IPPROTO_TCP/42 ?et*", "TCP_AO_REPAIR: needs TCP_REPAIR" },
	{ "*/TCP_AO_REPAIR ?et*", "needs TCP_REPAIR" },
	{ "*_IPSEC_POLICY set*", "refused to root too: the INS's network has no IPsec" },
	{ "*_XFRM_POLICY set*", "likewise" },
	{ "*/IP_OPTIONS set*", "options of unknown kinds are refused to root too" },
	{ "*/SO_ATTACH_FILTER set*", "refused to root too by a kernel that lets only root attach filters: the INS is not root" },
	{ "poll, both:*", "HUP is not shown of a UDP socket: see doc/design.md" },
	{ "what comes later*", "a datagram that comes after shutdown(SHUT_RD), which Linux delivers all the same, is not taken" },
	{ "poll, refused*", "an error that UDP was told of shows as IN, not as ERR: a doorbell cannot take ERR back; select() says the same" },
	{ "extras/control*", "TCP's receive time stamps (SO_TIMESTAMP) are not passed on: bytes have none on their way through the INS" },
	{ "dissolved SO_ERROR*", "AF_UNSPEC takes an error along that Linux leaves behind" },
	{ "* connect(fd, SA(&unspec)*", "AF_UNSPEC does not dissolve a TCP connection" },
};

/* On the ring lane, where a doorbell is a socket of records. */
static const struct difference ring_differences[] = {
	{ "* pri:*", "a socket of records never shows POLLPRI" },
};

/* On the stream lane, where reads and writes are a UNIX socket's own. */
static const struct difference stream_differences[] = {
	{ "*still space:*", "a UNIX socket wakes its writer each time that bytes were taken, TCP once" },
	{ "*/*both closed:*", "two wake-ups where TCP has one: the shutdown's own, and the INS letting go" },
	{ "shut-rd/*still deaf:*", "a wake-up more, for bytes that nobody may read" },
	{ "*reset*/*write after:*", "a UNIX socket's write does not look at the pending error" },
	{ "reset-write/*write takes it:*", "the same" },
	{ "*reset*/*read after:*", "the error is still there, since the write did not take it" },
	{ "write-to-gone/*read:*", "the same" },
	{ "pending/*write early:*", "what is written before the connection is made waits in the descriptor" },
	{ "lowat/*readable=0*", "a UNIX socket's poll does not know SO_RCVLOWAT; its read that waits does" },
	{ "told by read [rw]*:*", "a plain read or write of what is not connected is the UNIX socket's" },
	{ "blocking read:*", "the same" },
	{ "blocking write:*", "the same" },
	{ "bound bind again:*", "the port that Linux chose is kept by its number" },
	{ "options TCP_KEEPCNT:*", "an option cannot be set between a failure and the next connect()" },
	{ "options too few:*", "SO_RCVLOWAT is the UNIX socket's, and 1" },
	{ "listening/*read:*", "a plain read of a listener is the UNIX socket's" },
	{ "listening/*write:*", "the same" },
	{ "start/alone in:*", "the urgent byte is in the UNIX socket's queue, and it says so" },
	{ "start/another in:*", "the same" },
	{ "two/first taken in:*", "the same" },
	{ "two/second came in:*", "the same" },
	{ "two/three taken in:*", "the same" },
	{ "untaken/* in:*", "the same" },
	{ "inline/off in:*", "the same" },
	{ "*/* FIONREAD: [0-9]*", "a UNIX socket counts what is behind the mark too" },
	{ "start/MSG_OOB without room:*", "a UNIX socket says 1, and nothing of MSG_TRUNC" },
	{ "start/MSG_OOB|MSG_TRUNC:*", "the same" },
	{ "untaken/*", "a second urgent byte makes the first an ordinary one, also where reading stands at it" },
	{ "announced/signals: *", "urgent data reaches the doorbell when it arrives, not when it is announced" },
	{ "announced/MSG_OOB:*", "the same" },
	{ "inline/inline after all:*", "a byte that was taken is taken" },
};

struct transcript {
	char *line[LINES];
	int count, status;
};

static void run(const char *mw, const char *only, int out)
{
	char self[4096] = { 0 };
	const char *av[12];
	int n = 0, channel;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		_exit(127);
	if (mw) {
		const char *lane = getenv("MW_TEST_LANE");
		const char *before[] = { mw, "run", "--net", "host", "--lane", lane ? lane : "auto", "--" };
		const char *device[] = { mw, "run", "--xen", "--" };
		bool on_device = lane && !strcmp(lane, "device");

		n = on_device ? 4 : 7;
		memcpy(av, on_device ? device : before, (size_t)n * sizeof(av[0]));
	}
	av[n++] = self;
	av[n++] = "--script";
	av[n++] = only;
	av[n] = NULL;
	channel = peer_start();
	dup2(channel, 0);
	close(channel);
	dup2(out, 1);
	execv(av[0], (char *const *)(unsigned long)av);
	_exit(127);
}

static void record(struct transcript *t, const char *mw, const char *only)
{
	static char text[16384];
	int p[2];
	pid_t pid;
	FILE *f;

	if (pipe(p) < 0)
		abort();
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		run(mw, only, p[1]);
	}
	close(p[1]);
	f = fdopen(p[0], "r");
	while (t->count < LINES && fgets(text, sizeof(text), f))
		t->line[t->count++] = strdup(text);
	fclose(f);
	waitpid(pid, &t->status, 0);
}

static const char *reason(const struct difference *list, size_t count, const char *line)
{
	for (size_t i = 0; i < count; i++)
		if (fnmatch(list[i].pattern, line, 0) == 0)
			return list[i].why;
	return NULL;
}

static const char *accepted(const char *line)
{
	const char *why = reason(differences, sizeof(differences) / sizeof(differences[0]), line);

	if (why)
		return why;
	if (!getenv("MW_TEST_LANE"))
		return reason(ring_differences, sizeof(ring_differences) / sizeof(ring_differences[0]), line);
	return reason(stream_differences, sizeof(stream_differences) / sizeof(stream_differences[0]), line);
}

/* "design=X poll=X ...": what the design says is what poll said. */
static int as_designed(const char *line)
{
	char d[128], p[128];
	const char *at = strstr(line, "design=");

	return !at || sscanf(at, "design=%127s poll=%127s", d, p) != 2 || !strcmp(d, p);
}

static int compare(int i, const char *native, const char *here)
{
	int same = !strcmp(native, here), right = as_designed(native);
	const char *why = same && right ? NULL : accepted(native);

	printf("%sok %d - %.*s%s%s\n", (same && right) || why ? "" : "not ", i, (int)strcspn(native, ":"), native,
	       why ? " # accepted: " : "", why ? why : "");
	if (!same || !right)
		printf("#   native%s %s#   here   %s", right ? "   " : " (not as designed)", native, here);
	return (same && right) || why ? 0 : 1;
}

int transcript_compare(const char *mw, const char *only)
{
	static struct transcript native, here;
	int bad = 0, n;

	record(&native, NULL, only);
	record(&here, mw, only);
	n = native.count < here.count ? native.count : here.count;
	for (int i = 0; i < n; i++)
		bad += compare(i + 1, native.line[i], here.line[i]);
	bad += native.status || here.status || native.count != here.count || !n;
	printf("%sok %d - both ran to the end (%d and %d lines, status %d and %d)\n",
	       native.status || here.status || native.count != here.count || !n ? "not " : "", n + 1, native.count,
	       here.count, native.status, here.status);
	printf("1..%d\n", n + 1);
	return bad != 0;
}

int transcript_main(int argc, char **argv, void (*script)(const char *only))
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s MW [ONLY]\n", argv[0]);
		return 2;
	}
	if (strcmp(argv[1], "--script"))
		return transcript_compare(argv[1], argv[2]);
	script(argv[2]);
	return 0;
}

bool transcript_alone(size_t number, void (*script)(void), unsigned int seconds)
{
	int status;
	pid_t child;

	printf("script %zu: begins\n", number);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		alarm(seconds);
		script();
		exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		printf("script %zu: %s\n", number, WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "failed");
	else
		printf("script %zu: ran to its end\n", number);
	fflush(stdout);
	return status == 0;
}
