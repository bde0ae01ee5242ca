// SPDX-License-Identifier: Apache-2.0
/*
 * fork.c - which process and thread we are, and what a child may keep.
 * Trust: none.
 *
 * A forked child keeps the arena and its sockets, and makes a control connection of its own when it needs one.
 * A vfork child shares our memory: there in_own_process() is false and the tables are left alone.
 */
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/shim.h"

static int pid;
static __thread int tid __attribute__((tls_model("initial-exec")));

static void child(void)
{
	pid = (int)syscall(SYS_getpid);
	tid = 0;
	attach_after_fork();
}

bool in_own_process(void)
{
	return (int)syscall(SYS_getpid) == pid;
}

int own_pid(void)
{
	return pid;
}

int own_tid(void)
{
	if (!tid)
		tid = (int)syscall(SYS_gettid);
	return tid;
}

/* Before any other constructor that could make a socket. */
__attribute__((constructor(101))) static void start(void)
{
	pid = (int)syscall(SYS_getpid);
	pthread_atfork(NULL, NULL, child);
}
