// SPDX-License-Identifier: Apache-2.0
/*
 * process_space.c - programs that limit their address space (RLIMIT_AS), of which the rings shall take nothing.
 * Trust: a test's own processes.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/process.h"

#define MIB      (1ul << 20)
#define LIMIT    (400 * MIB)

static void say_limit(const char *what, long r, const struct rlimit *l)
{
	if (r < 0)
		say("%s: %s", what, word(r));
	else
		say("%s: %lld %lld", what, (long long)l->rlim_cur, (long long)l->rlim_max);
}

static void limits(void)
{
	struct rlimit l = { 1, 1 };
	struct rlimit64 big = { 1, 1 };

	say_limit("getrlimit", getrlimit(RLIMIT_AS, &l), &l);
	say_limit("getrlimit64", getrlimit64(RLIMIT_AS, &big), &l);
	say("getrlimit64: %lld %lld", (long long)big.rlim_cur, (long long)big.rlim_max);
	say_limit("prlimit", prlimit(getpid(), RLIMIT_AS, NULL, &l), &l);
	say_limit("syscall", syscall(SYS_getrlimit, RLIMIT_AS, &l), &l);
	say_limit("syscall, p", syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, &l), &l);
}

/* What is left is known to 100 MiB: a program's own libraries take some, and differ. */
static void room(void)
{
	void *first = mmap(NULL, LIMIT - 100 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *second;

	say("most of it: %s", word(first == MAP_FAILED ? -1 : 0));
	second = mmap(NULL, 100 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	say("the rest and more: %s", word(second == MAP_FAILED ? -1 : 0));
	if (first != MAP_FAILED)
		munmap(first, LIMIT - 100 * MIB);
	if (second != MAP_FAILED)
		munmap(second, 100 * MIB);
}

static long set(rlim_t soft, rlim_t hard)
{
	struct rlimit l = { soft, hard };

	return setrlimit(RLIMIT_AS, &l);
}

static void before(void)
{
	limits();
	say("set: %s", word(set(LIMIT, RLIM_INFINITY)));
	limits();
	room();
	talk(dial(), "attached in it");
	room();
	say("lifted: %s", word(set(RLIM_INFINITY, RLIM_INFINITY)));
	limits();
	talk(dial(), "without it");
}

static void after(void)
{
	int fd = dial();

	talk(fd, "before it");
	say("set: %s", word(set(LIMIT, LIMIT)));
	limits();
	room();
	talk(fd, "in it");
	talk(dial(), "another");
	room();
}

static void again(int most)
{
	limits();
	room();
	talk(dial(), "its own");
	room();
	if (most)
		say("%s", end_of(child(again, most - 1)));
}

int child_space(void)
{
	again(1);
	return 0;
}

static void inherited(void)
{
	pid_t pid;

	say("set: %s", word(set(LIMIT, LIMIT + MIB)));
	say("%s", end_of(child(again, 1)));
	pid = vfork();
	if (pid == 0) {
		execl(self(), self(), "--child", "space", "0", NULL);
		_exit(126);
	}
	say("%s", end_of(pid));
}

/* The limit is what the child of vfork() sets, in memory that is its parent's. */
static void by_child(void)
{
	struct rlimit l = { LIMIT, LIMIT };
	pid_t pid = vfork();

	if (pid == 0) {
		setrlimit(RLIMIT_AS, &l);
		execl(self(), self(), "--child", "space", "0", NULL);
		_exit(126);
	}
	say("%s", end_of(pid));
	limits();
	talk(dial(), "parent");
}

static void rules(void)
{
	struct rlimit l = { LIMIT, LIMIT }, old;

	say("above the hard one: %s", word(set(LIMIT + 1, LIMIT)));
	say("set: %s", word(set(LIMIT, 2 * LIMIT)));
	say("setuid: %s", word(setuid(65534)));
	say("higher: %s", word(set(2 * LIMIT, 2 * LIMIT)));
	say("too high: %s", word(set(2 * LIMIT + 1, 2 * LIMIT)));
	say("hard one higher: %s", word(set(LIMIT, 2 * LIMIT + 1)));
	say("hard one away: %s", word(set(LIMIT, RLIM_INFINITY)));
	say("an odd one: %s", word(set(LIMIT + 12345, 2 * LIMIT)));
	limits();
	say_limit("old", prlimit(0, RLIMIT_AS, &l, &old), &old);
	limits();
	say("hard one again: %s", word(set(LIMIT, 2 * LIMIT)));
	say("wrong address: %s", word(syscall(SYS_prlimit64, 0, RLIMIT_AS, 16, NULL)));
	say("wrong address: %s", word(syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, 16)));
	say("nobody: %s", word(prlimit(0x3fffffff, RLIMIT_AS, NULL, &old)));
	say("none: %s", word(syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, NULL)));
	say("nothing: %s", word(set(0, 0)));
	limits();
}

static void sleeper(int fd)
{
	char c;

	say("set: %s", word(set(LIMIT, LIMIT)));
	if (write(fd, "x", 1) != 1 || read(fd, &c, 1) != 1)
		_exit(1);
	limits();
	room();
}

static void of_another(void)
{
	struct rlimit l = { LIMIT - MIB, LIMIT - MIB }, old;
	int ends[2];
	pid_t pid;
	char c;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		abort();
	pid = child(sleeper, ends[1]);
	if (read(ends[0], &c, 1) != 1)
		abort();
	say_limit("another's", prlimit(pid, RLIMIT_AS, NULL, &old), &old);
	say_limit("another's, changed", prlimit(pid, RLIMIT_AS, &l, &old), &old);
	if (write(ends[0], "x", 1) != 1)
		abort();
	say("%s", end_of(pid));
	limits();
}

const struct script space_scripts[] = {
	{ "space-before", before }, { "space-after", after }, { "space-inherited", inherited }, { "space-by-child", by_child },
	{ "space-rules", rules }, { "space-of-another", of_another }, { NULL, NULL },
};
