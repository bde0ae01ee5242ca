// SPDX-License-Identifier: Apache-2.0
/*
 * owner_fuzz.c - libFuzzer target: telemetry that asks its broker about processes and other INSs' metrics, or says anything there; and a
 * broker that answers anything.
 * Trust: none. Who asks is answered once. A process is signalled only when that was asked for, and when it is of the application's network;
 * a record of another size ends the connection; what came along is handed on or closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

static int model_pidfd_open(pid_t pid, unsigned int flags);
static int model_pidfd_send_signal(int fd, int sig, siginfo_t *info, unsigned int flags);

#define pidfd_open        model_pidfd_open
#define pidfd_send_signal model_pidfd_send_signal
#include "broker/owner.c"

#include "link/samples.h"
#include "telem/owner.h"
#include "telem/peers.h"
#include "test/fuzz/input.h"

#define OURS  4711 /* the application's network namespace */
#define ASKED 256
#define INSS  3    /* the first is the one that asks; the last has no telemetry just now */

int LLVMFuzzerInitialize(int *argc, char ***argv);
void netflow_take(int fd);

static struct one_ins inss[INSS];
static int far; /* the other telemetry's end */
static struct {
	uint32_t kind, pid;
	uint32_t answers;
} asked[ASKED];
static uint64_t count, before; /* asked by this input, by those before it */
static pid_t opened, seen_in;  /* whose pidfd is open; who was looked at, and is of the namespace */
static uint32_t carried;       /* the kind of the record that the broker is at */

/* --- what both have beside them --- */

size_t inss_count(void)
{
	return INSS;
}

struct one_ins *inss_at(size_t i)
{
	return &inss[i];
}

bool tree_in_namespace(pid_t pid, const char *kind, ino_t wanted)
{
	must(pid > 1 && pid == opened && !strcmp(kind, "net") && wanted == OURS); /* looked at behind the open */
	seen_in = pid & 1 ? pid : 0;
	return seen_in != 0;
}

static int model_pidfd_open(pid_t pid, unsigned int flags)
{
	must(pid > 1 && !flags);
	opened = pid;
	errno = ESRCH;
	return pid & 2 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
}

static int model_pidfd_send_signal(int fd, int sig, siginfo_t *info, unsigned int flags)
{
	must(fcntl(fd, F_GETFD) >= 0 && !info && !flags && opened == seen_in);
	must(carried == OWNER_INTERRUPT ? sig == SIGINT : carried == OWNER_RUNNING && sig == 0);
	errno = EPERM;
	return opened & 4 ? 0 : -1;
}

static void take(int fd)
{
	must(fcntl(fd, F_GETFD) >= 0 && close(fd) == 0);
}

void peers_pipe(int fd)
{
	take(fd);
}

void peers_write(int fd)
{
	take(fd);
}

void netflow_take(int fd)
{
	take(fd);
}

/* --- telemetry --- */

static void answered(void *arg, int32_t status)
{
	size_t i = (size_t)(uintptr_t)arg;

	(void)status;
	must(i < count && asked[i].answers++ == 0);
}

static void ask(struct input *in)
{
	uint8_t how = next_byte(in);
	uint64_t i = count;

	if (count == ASKED)
		return;
	asked[count].kind = 1 + how % 3;
	asked[count].pid = asked[count].kind == OWNER_METRICS ? 0 : how & 128 ? next_u32(in) : how >> 3;
	asked[count++].answers = 0;
	owner_asks(asked[i].kind, asked[i].pid, answered, (void *)(uintptr_t)i);
	if (asked[i].answers) /* nobody: it was not sent */
		count--;
}

/* One record; with a descriptor, or more. */
static void say(struct input *in, int to)
{
	uint8_t bytes[64] = { 0 }, how = next_byte(in);
	struct owner_ask m = { .seq = before + next_byte(in), .kind = how % 8, .pid = next_byte(in), .status = how >> 7 };
	size_t size = how & 32 ? next_byte(in) % sizeof(bytes) : sizeof(m);
	int fds[FDPASS_MAX] = { 0 }, n = size == sizeof(m) || to == TELEM_BROKER_FD ? how >> 3 & 3 : 0; /* of what ends telemetry nothing is left */

	memcpy(bytes, &m, sizeof(m));
	if (how & 64)
		next_bytes(in, bytes, sizeof(m));
	for (int i = 0; i < n; i++)
		must((fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
	fdpass_send(to, bytes, size, fds, n, MSG_DONTWAIT);
	while (n)
		close(fds[--n]);
}

/* --- the broker --- */

/* What is read there is what came; false: what was said makes no sense. */
static bool broker_turn(void)
{
	struct owner_ask m;
	ssize_t n = recv(inss[0].telem.helper.up, &m, sizeof(m), MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
	bool good;

	carried = n == sizeof(m) ? m.kind : 0;
	opened = seen_in = 0;
	good = owner_handle(inss[0].telem.helper.up, OURS);
	must(!good || n < 0 || n == 1 || n == sizeof(m));
	return good;
}

/* What the broker has told a telemetry, on the way. */
static void others_read(int fd)
{
	struct owner_ask m;
	int fds[FDPASS_MAX], n = FDPASS_MAX;

	while (fdpass_recv(fd, &m, sizeof(m), fds, &n, MSG_DONTWAIT) > 0) {
		must(n == 1 && (m.kind == OWNER_WRITE || m.kind == OWNER_NETFLOW));
		take(fds[0]);
		n = FDPASS_MAX;
	}
}

/* --- the target --- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	must(dup2(STDERR_FILENO, TELEM_BROKER_FD) == TELEM_BROKER_FD); /* so that no other descriptor gets this number */
	return 0;
}

static void begin(void)
{
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	must(dup2(pair[1], TELEM_BROKER_FD) == TELEM_BROKER_FD);
	close(pair[1]);
	inss[0].telem.helper.pid = inss[1].telem.helper.pid = 1;
	inss[0].telem.helper.up = pair[0];
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	inss[1].telem.helper.up = pair[0];
	far = pair[1];
	count = 0;
}

/* Whoever was not answered yet is, by a record that names the question; so nothing is left of this input. */
static void settle(void)
{
	struct owner_ask m;

	for (uint64_t i = 0; i < count; i++) {
		while (recv(inss[0].telem.helper.up, &m, sizeof(m), MSG_DONTWAIT) >= 0)
			;
		for (int tries = 0; tries < 2 && !asked[i].answers; tries++) { /* the first may only have made room for the question */
			m = (struct owner_ask){ .seq = before + i + 1, .kind = asked[i].kind };
			must(send(inss[0].telem.helper.up, &m, sizeof(m), MSG_DONTWAIT) == sizeof(m) && owner_answers());
		}
		must(asked[i].answers);
	}
	before += count;
}

static void read_rest(void)
{
	struct pollfd p = { .fd = TELEM_BROKER_FD, .events = POLLIN };

	while (poll(&p, 1, 0) > 0)
		owner_answers();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	int first, last;
	bool good = true;

	begin();
	first = dup(STDERR_FILENO);
	close(first);
	while (in.at < in.end && good) {
		uint8_t op = next_byte(&in);

		switch (op % 8) {
		case 0: case 1: ask(&in); break;
		case 2: case 3: good = broker_turn(); break;
		case 4: good = owner_answers(); break;
		case 5: say(&in, TELEM_BROKER_FD); break;
		case 6: say(&in, inss[0].telem.helper.up); break;
		default:
			owner_give_netflow(&inss[op >> 3 & 1].telem.helper, far);
			others_read(far);
		}
	}
	others_read(far);
	read_rest();
	settle();
	last = dup(STDERR_FILENO);
	close(last);
	must(first == last);
	close(inss[0].telem.helper.up);
	close(inss[1].telem.helper.up);
	close(far);
	return 0;
}
