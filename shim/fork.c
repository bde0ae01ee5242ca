// SPDX-License-Identifier: Apache-2.0
/*
 * fork.c - which process and thread we are, and what a child may keep.
 * Trust: none.
 *
 * A forked child keeps the arena and its sockets, and makes a control connection of its own when it needs one.
 * A vfork child shares our memory: there in_own_process() is false and the tables are left alone. A child of a bare
 * clone() or _Fork() runs no handler of pthread_atfork; the kernel tells it by emptying a page.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/fork.h"
#include "link/device.h"
#include "shim/attach.h"

static int pid;
static int no_page = 1;
static int *same_memory = &no_page; /* 0 in a child that copied ours and has not noticed yet */
static __thread int tid __attribute__((tls_model("initial-exec")));

static void child(void)
{
	*same_memory = 1;
	pid = (int)syscall(SYS_getpid);
	tid = 0;
	attach_after_fork();
}

static void notice(void)
{
	if (__builtin_expect(!*same_memory, 0))
		child();
}

bool in_own_process(void)
{
	notice();
	return (int)syscall(SYS_getpid) == pid;
}

int own_pid(void)
{
	notice();
	return pid;
}

int own_tid(void)
{
	notice();
	if (!tid)
		tid = (int)syscall(SYS_gettid);
	return tid;
}

/* Before any other constructor that could make a socket. */
__attribute__((constructor(101))) static void start(void)
{
	void *page = mmap(NULL, MW_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	device_used(); /* decided before the program can change its environment */
	pid = (int)syscall(SYS_getpid);
	if (page != MAP_FAILED && madvise(page, MW_PAGE, MADV_WIPEONFORK) == 0) {
		same_memory = page;
		*same_memory = 1;
	}
	pthread_atfork(NULL, NULL, child);
}
