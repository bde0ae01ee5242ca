// SPDX-License-Identifier: Apache-2.0
/*
 * process_own.c - programs that close, overwrite or pass on every descriptor, and those that have few.
 * Trust: a test's own processes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/process.h"

#define FIRST  3
#define TABLE  8192 /* above any descriptor in these scripts */
#define SPACE  16

static void each_open(void (*visit)(int))
{
	static char seen[TABLE];
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	memset(seen, 0, sizeof(seen));
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && atoi(e->d_name) < TABLE && atoi(e->d_name) != dirfd(d))
			seen[atoi(e->d_name)] = 1;
	closedir(d);
	for (int fd = FIRST; fd < TABLE; fd++)
		if (seen[fd])
			visit(fd);
}

static int limit(void)
{
	struct rlimit l;

	return getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur > TABLE ? TABLE : (int)l.rlim_cur;
}

static void close_raw(int fd)
{
	syscall(SYS_close, fd);
}

static void by_loop(void)
{
	for (int fd = FIRST; fd < limit(); fd++)
		close(fd);
}

static void by_raw_loop(void)
{
	for (int fd = FIRST; fd < TABLE; fd++)
		close_raw(fd);
}

static void by_range(void)
{
	say("close_range: %s", word(close_range(FIRST, ~0u, 0)));
}

static void by_raw_range(void)
{
	syscall(SYS_close_range, FIRST, ~0u, 0);
}

static void by_unshared_range(void)
{
	say("close_range: %s", word(close_range(FIRST, ~0u, CLOSE_RANGE_UNSHARE)));
}

static void by_from(void)
{
	closefrom(FIRST);
}

static void close_one(int fd)
{
	close(fd);
}

static void by_list(void)
{
	each_open(close_one);
}

static void by_raw_list(void)
{
	each_open(close_raw);
}

/* All is closed while a socket is in use; then new ones are made. */
static void closed(void (*way)(void))
{
	int fd = dial();

	talk(fd, "before");
	way();
	say("closed: %s", word(fcntl(fd, F_GETFD)));
	say("peer reads: %d", peer_do(PEER, PEER_READ, 1));
	fd = dial();
	say("the lowest number: %d", fd);
	talk(fd, "afterwards");
}

static void closing(void)
{
	static void (*const ways[])(void) = { by_loop, by_range, by_unshared_range, by_from, by_list };

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		closed(ways[i]);
}

/* Past the shim: what was a socket must be closed by a call that it sees, or not be used again as another file. */
static void closing_raw(void)
{
	static void (*const ways[])(void) = { by_raw_loop, by_raw_range, by_raw_list };

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		close(dial());
		ways[i]();
		talk(dial(), "afterwards");
	}
}

/* After close-on-exec of everything, nothing is closed here. */
static void closing_later(void)
{
	int fd = dial();

	say("close_range: %s", word(close_range(FIRST, ~0u, CLOSE_RANGE_CLOEXEC)));
	talk(fd, "afterwards");
	talk(dial(), "a new one");
}

static int file, put_by_raw, keep;
static int put_on[SPACE], put_count;

/* Every descriptor that the script did not make itself becomes the file. */
static void put_over(int fd)
{
	if (fd == file || fd == keep || put_count == SPACE)
		return;
	put_on[put_count++] = fd;
	if (put_by_raw ? syscall(SYS_dup2, file, fd) : dup2(file, fd) != fd)
		put_on[put_count - 1] = fd;
}

static void overwritten(int raw)
{
	char name[] = "/tmp/process-XXXXXX";
	struct stat a, b;
	int same = 0;

	put_by_raw = raw;
	put_count = 0;
	file = mkstemp(name);
	unlink(name);
	keep = dial();
	talk(keep, "before");
	each_open(put_over);
	talk(keep, "afterwards");
	talk(dial(), "a new one");
	sleep(1);
	talk(dial(), "another, when all slept");
	fstat(file, &a);
	for (int i = 0; i < put_count; i++)
		same += fstat(put_on[i], &b) == 0 && a.st_ino == b.st_ino;
	say("all are the file: %d, %ld bytes in it", same == put_count, (long)a.st_size);
	for (int i = 0; i < put_count; i++)
		same -= close(put_on[i]) == 0;
	say("and can be closed: %d", same == 0);
	talk(dial(), "at the end");
	close(keep);
	close(file);
}

static void overwriting(void)
{
	overwritten(0);
}

static void overwriting_raw(void)
{
	overwritten(1);
}

/* --- few descriptors --- */

static int make_all(int *made, int most)
{
	int n = 0;

	while (n < most && (made[n] = socket(AF_INET, SOCK_STREAM, 0)) >= 0)
		n++;
	return n;
}

static void limited(rlim_t to)
{
	struct rlimit l;
	int made[64], n, spare = dup(0);

	getrlimit(RLIMIT_NOFILE, &l);
	close(spare);
	l.rlim_cur = (rlim_t)spare + to;
	say("setrlimit: %s", word(setrlimit(RLIMIT_NOFILE, &l)));
	n = make_all(made, 64);
	say("%d sockets, then %s", n, word(-1));
	close(made[--n]);
	n += make_all(made + n, 1);
	say("one closed, %d again", n);
	while (n)
		close(made[--n]);
}

static void few(void)
{
	close(dial());
	limited(6);
}

static void few_from_start(void)
{
	limited(5);
}

static void none_to_accept(void)
{
	int port, l = listening(&port), made[64], n, fd;
	struct rlimit lim;

	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = (rlim_t)l + 4;
	setrlimit(RLIMIT_NOFILE, &lim);
	n = make_all(made, 64);
	say("peer connects: %d", peer_do(PEER, PEER_CONNECT, port));
	say("accept: %s", word(accept(l, NULL, NULL)));
	say("accept: %s", word(accept(l, NULL, NULL)));
	close(made[--n]);
	fd = accept(l, NULL, NULL);
	say("one closed: %s", word(fd));
	talk(fd, "accepted");
}

static void forker(int most)
{
	(void)most;
	close(dial_port(peer_do(PEER, PEER_PORT, 0), 0));
}

/* No further process may be made: sockets do not mind. */
static void no_processes(void)
{
	struct rlimit l = { 0, 0 };

	say("setuid: %s", word(setuid(65534)));
	setrlimit(RLIMIT_NPROC, &l);
	say("fork: %s", word(child(forker, 0)));
	talk(dial(), "afterwards");
}

const struct script own_scripts[] = {
	{ "closing", closing }, { "closing-raw", closing_raw }, { "closing-later", closing_later },
	{ "overwriting", overwriting }, { "overwriting-raw", overwriting_raw }, { "few", few },
	{ "few-from-start", few_from_start }, { "none-to-accept", none_to_accept },
	{ "no-processes", no_processes }, { NULL, NULL },
};
