// SPDX-License-Identifier: Apache-2.0
/*
 * doorbell_stress.c - hunts lost and endless wake-ups.
 * Trust: a test's own processes.
 *
 * Usage: doorbell_stress [-s SEED] [-w WAKEUPS] [-t SECONDS] [-n CONNECTIONS] [-m MODE] [MW]. Runs its application side
 * (stress_app.c) under `MW run`, or natively without MW; this process is the peer. Exits with 0 when no byte was
 * lost or changed, nothing hung, wake-ups without a cause were few, and nobody woke when idle.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/same/stress.h"

uint8_t stress_pattern[PATTERN + CHUNK];

void stress_pattern_init(void)
{
	uint32_t state = 88172645;

	for (uint32_t i = 0; i < PATTERN + CHUNK; i++)
		stress_pattern[i] = i < PATTERN ? (uint8_t)roll(&state) : stress_pattern[i - PATTERN];
}

static void run_app(const struct options *o, int channel, int port)
{
	char self[4096] = { 0 }, number[5][24];
	const char *av[28];
	int n = 0;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		_exit(127);
	if (o->mw) {
		const char *lane = getenv("MW_TEST_LANE");
		const char *before[] = { o->mw, "run", "--net", "host", "--lane", lane ? lane : "auto", "--" };

		memcpy(av, before, sizeof(before));
		n = (int)(sizeof(before) / sizeof(before[0]));
	}
	snprintf(number[0], sizeof(number[0]), "%u", o->seed);
	snprintf(number[1], sizeof(number[1]), "%llu", (unsigned long long)o->wakeups);
	snprintf(number[2], sizeof(number[2]), "%d", o->seconds);
	snprintf(number[3], sizeof(number[3]), "%d", o->conns);
	snprintf(number[4], sizeof(number[4]), "%d", port);
	const char *after[] = { self, "-s", number[0], "-w", number[1], "-t", number[2], "-n", number[3], "-p", number[4],
				o->only ? "-m" : NULL, o->only, NULL };

	memcpy(av + n, after, sizeof(after));
	dup2(channel, CONTROL_FD);
	close(channel);
	execv(av[0], (char *const *)(uintptr_t)av);
	_exit(127);
}

static int play(const struct options *o)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2], status, r;
	pid_t pid;

	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 64) < 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &n) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return 2;
	printf("# seed %u, %s\n", o->seed, o->mw ? "protected" : "native");
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		run_app(o, pair[1], ntohs(a.sin_port));
	close(pair[1]);
	r = stress_peer(o, listener, pair[0], o->mw ? pid : 0);
	if (r)
		kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	printf("%s 1 - stress: peer %d, application status %x, seed %u\n1..1\n", r || status ? "not ok" : "ok", r,
	       (unsigned int)status, o->seed);
	return r || status;
}

int main(int argc, char **argv)
{
	struct options o = { .seed = (uint32_t)time(NULL), .wakeups = 1000000, .seconds = 90, .conns = 2 };
	int c, port = 0;

	while ((c = getopt(argc, argv, "s:w:t:n:m:p:")) != -1) {
		switch (c) {
		case 's': o.seed = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'w': o.wakeups = strtoull(optarg, NULL, 10); break;
		case 't': o.seconds = atoi(optarg); break;
		case 'n': o.conns = atoi(optarg); break;
		case 'm': o.only = optarg; break;
		case 'p': port = atoi(optarg); break; /* the application's side */
		default: return 2;
		}
	}
	o.mw = argv[optind];
	stress_pattern_init();
	return port ? stress_app(&o, port) : play(&o);
}
