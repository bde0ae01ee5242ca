// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - mw-names, the resolver: libc's lookups for the processes of one application.
 * Trust: command line and descriptors 3 to 5 come from the broker; asks are checked (link/names.c).
 *
 * libc makes the resolver's sockets inside libc, where no shim sees them. So the shim sends the call here, where it is made
 * again: in the network namespace of the INS, with the files of the host (nsswitch.conf, resolv.conf, hosts, services), whatever
 * the application's own root and user are by then. A connection is one lookup and has a thread of its own: a slow name keeps
 * nobody else waiting until THREADS of them are slow; then connections wait in the backlog.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/about.h"
#include "lib/fdpass.h"
#include "names/names.h"

#define THREADS 256
#define STACK_BYTES (512u << 10) /* libc keeps what is large on the heap */
#define PEER_S 10                /* an asker that neither sends nor reads */
#define FULL_MS 20

static const char help[] =
	"Usage: mw-names isolated|host\n\n"
	"Looks names and interfaces up for the processes of one application. Is started by `mw run`, which gives it descriptors.\n\n"
	"  isolated    in the INS's network namespace\n"
	"  host        in the caller's\n"
	"  -h, --help  this text\n"
	"  --version   its version\n";

static int running;

static int read_all(int fd, uint8_t *to, size_t n)
{
	for (size_t have = 0; have < n;) {
		ssize_t r = read(fd, to + have, n - have);

		if (r <= 0 && !(r < 0 && errno == EINTR))
			return -ECONNRESET;
		have += r > 0 ? (size_t)r : 0;
	}
	return 0;
}

/* `give`: a descriptor that goes with the first byte, or -1. */
static void send_all(int fd, const uint8_t *from, size_t n, int give)
{
	for (size_t sent = 0; sent < n;) {
		ssize_t r = fdpass_send(fd, from + sent, n - sent, &give, give >= 0 && !sent, 0);

		if (r <= 0 && r != -EINTR)
			return;
		sent += r > 0 ? (size_t)r : 0;
	}
}

/* The whole record; the caller's to free. */
static uint8_t *take_record(int fd, size_t *bytes)
{
	uint8_t head[4], *record;

	if (read_all(fd, head, sizeof(head)) < 0)
		return NULL;
	*bytes = names_bytes(head, NAMES_ASK_MAX);
	record = *bytes ? malloc(*bytes) : NULL;
	if (!record)
		return NULL;
	memcpy(record, head, sizeof(head));
	if (read_all(fd, record + sizeof(head), *bytes - sizeof(head)) < 0) {
		free(record);
		return NULL;
	}
	return record;
}

static void *serve(void *arg)
{
	int fd = (int)(long)arg, give = -1, r = -EBADMSG;
	struct names_out out = { 0 };
	struct names_ask ask;
	size_t bytes = 0;
	uint8_t *record = take_record(fd, &bytes);

	if (record && names_ask_get(&ask, record, bytes) == 0)
		r = ask.call < NAMES_IF_ADDRESSES ? lookup(&ask, &out) : interfaces(&ask, &out, &give);
	if (r == 0)
		send_all(fd, out.at, out.bytes, give);
	if (give >= 0)
		close(give);
	free(out.at);
	free(record);
	close(fd);
	__atomic_fetch_sub(&running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void take_connection(const pthread_attr_t *attr)
{
	struct timeval t = { .tv_sec = PEER_S };
	int fd = accept4(NAMES_LISTEN_FD, NULL, NULL, SOCK_CLOEXEC);
	pthread_t thread;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	__atomic_fetch_add(&running, 1, __ATOMIC_ACQUIRE);
	if (pthread_create(&thread, attr, serve, (void *)(long)fd) == 0)
		return;
	__atomic_fetch_sub(&running, 1, __ATOMIC_RELAXED);
	close(fd); /* the asker sees the end: EAI_AGAIN */
}

/* Until the broker is gone, or the relay, which only a fresh start brings back. */
static void loop(int relay)
{
	struct pollfd p[] = { { .fd = NAMES_BROKER_FD, .events = POLLIN }, { .fd = relay, .events = POLLIN },
			      { .fd = NAMES_LISTEN_FD, .events = POLLIN } };
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (;;) {
		bool full = __atomic_load_n(&running, __ATOMIC_ACQUIRE) >= THREADS;

		p[2].fd = full ? -1 : NAMES_LISTEN_FD;
		if (poll(p, sizeof(p) / sizeof(p[0]), full ? FULL_MS : -1) < 0)
			continue;
		if (p[0].revents)
			_exit(0);
		if (p[1].revents)
			_exit(1);
		if (p[2].revents)
			take_connection(&attr);
	}
}

static void raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max < 65536 ? l.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "mw-names: cannot %s: %s\n", what, strerror(-r));
	_exit(1);
}

int main(int argc, char **argv)
{
	int relay = -1, r = about("mw-names", help, argc, argv);

	if (r >= 0)
		return r;
	if (argc != 2 || fcntl(NAMES_BROKER_FD, F_GETFD) < 0 || fcntl(NAMES_LISTEN_FD, F_GETFD) < 0) {
		fprintf(stderr, "mw-names: is started by `mw run`, not by hand\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	raise_limit();
	if (!strcmp(argv[1], "isolated"))
		check(relay_start(NAMES_NETNS_FD, &relay), "enter the INS's network");
	check(sandbox_enter(), "give up privileges");
	check(send(NAMES_BROKER_FD, "r", 1, MSG_NOSIGNAL) < 0 ? -errno : 0, "tell the broker that it is ready"); /* which waits for it */
	loop(relay);
}
