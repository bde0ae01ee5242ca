// SPDX-License-Identifier: Apache-2.0
/*
 * inject.c - has another process make system calls, as if it had been taken over: under its own filter, user and namespaces.
 *
 *   inject PID CALL [ARGUMENT...] [-- CALL [ARGUMENT...]]...
 *   inject PID filter N
 *
 * CALL is a number. An ARGUMENT is a number; `pid`, its own; `rN`, what the Nth call returned, from 0; `s:TEXT`, the address of that text; or
 * `x:HEX`, of those bytes. Prints a line for each call: `returned N`, or `killed SIGNAL` or `exited STATUS`, which is the last. Then the
 * process goes on where it was. `filter`: the Nth seccomp program that it has, from the last one installed, in hex; nothing: there is none.
 */
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX  6
#define CALLS_MAX 8
#define ROOM      4096 /* of the process's stack, below what it uses */
#define RED_ZONE  128

static struct user_regs_struct was;
static long returned[CALLS_MAX];
static unsigned long used; /* of ROOM */

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int wait_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) != pid)
		fail("inject: waitpid");
	return status;
}

/* With its registers; it stands behind a system call that was interrupted, or anywhere else. */
static void attach(pid_t pid)
{
	if (ptrace(PTRACE_SEIZE, pid, 0, 0L) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
		fail("inject: attach");
	if (!WIFSTOPPED(wait_stop(pid)) || ptrace(PTRACE_GETREGS, pid, 0, &was) < 0)
		fail("inject: it does not stop");
}

static unsigned long put(pid_t pid, const void *bytes, size_t n)
{
	unsigned long at = (was.rsp - RED_ZONE - ROOM + used) & ~15ul;
	struct iovec from = { (void *)(unsigned long)bytes, n }, to = { (void *)at, n };

	used += (n + 31) & ~15ul;
	if (used > ROOM || process_vm_writev(pid, &from, 1, &to, 1, 0) != (ssize_t)n)
		fail("inject: write");
	return at;
}

static unsigned long put_hex(pid_t pid, const char *text)
{
	unsigned char bytes[ROOM / 4];
	size_t n = strlen(text) / 2;
	unsigned int one;

	for (size_t i = 0; i < n && i < sizeof(bytes); i++) {
		if (sscanf(text + 2 * i, "%2x", &one) != 1)
			exit(2);
		bytes[i] = (unsigned char)one;
	}
	return put(pid, bytes, n < sizeof(bytes) ? n : sizeof(bytes));
}

static unsigned long argument(pid_t pid, const char *text)
{
	if (!strcmp(text, "pid"))
		return (unsigned long)pid;
	if (text[0] == 'r')
		return (unsigned long)returned[atoi(text + 1) % CALLS_MAX];
	if (!strncmp(text, "s:", 2))
		return put(pid, text + 2, strlen(text + 2) + 1);
	if (!strncmp(text, "x:", 2))
		return put_hex(pid, text + 2);
	return strtoul(text, NULL, 0);
}

/* A `syscall` instruction: the one that it stands behind, or one of libc's, which the vDSO is too near to be. */
static unsigned long instruction(pid_t pid)
{
	unsigned char page[4096];
	struct iovec to = { page, sizeof(page) }, from = { (void *)(was.rip - 2), 2 };

	if (process_vm_readv(pid, &to, 1, &from, 1, 0) == 2 && page[0] == 0x0f && page[1] == 0x05)
		return was.rip - 2;
	from = (struct iovec){ (void *)(was.rip & ~4095ul), sizeof(page) };
	if (process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)sizeof(page))
		for (unsigned long i = 0; i + 1 < sizeof(page); i++)
			if (page[i] == 0x0f && page[i + 1] == 0x05)
				return (was.rip & ~4095ul) + i;
	fprintf(stderr, "inject: no instruction for it\n");
	exit(1);
}

/* False: there is no such process any more. */
static int make(pid_t pid, int number, long call, const unsigned long a[ARGS_MAX])
{
	struct user_regs_struct r = was;
	int status;

	r.rip = instruction(pid);
	r.rax = (unsigned long)call;
	r.orig_rax = -1ul;
	r.rdi = a[0], r.rsi = a[1], r.rdx = a[2], r.r10 = a[3], r.r8 = a[4], r.r9 = a[5];
	if (ptrace(PTRACE_SETREGS, pid, 0, &r) < 0 || ptrace(PTRACE_SINGLESTEP, pid, 0, 0) < 0)
		fail("inject: step");
	status = wait_stop(pid);
	if (WIFSIGNALED(status) || WIFEXITED(status)) {
		printf("%s %d\n", WIFSIGNALED(status) ? "killed" : "exited", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		return 0;
	}
	if (ptrace(PTRACE_GETREGS, pid, 0, &r) < 0)
		fail("inject: registers");
	returned[number] = (long)r.rax;
	printf("returned %ld\n", returned[number]);
	return 1;
}

/* The interrupted call is made again, or says EINTR, as the kernel has decided. */
static void let_go(pid_t pid)
{
	ptrace(PTRACE_SETREGS, pid, 0, &was);
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void show_filter(pid_t pid, unsigned long number)
{
	static struct sock_filter code[BPF_MAXINSNS];
	long n = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, number, code);

	if (n < 0 && errno != ENOENT)
		fail("inject: filter");
	for (long i = 0; i < n; i++)
		printf("%04x %02x %02x %08x\n", code[i].code, code[i].jt, code[i].jf, code[i].k);
}

int main(int argc, char **argv)
{
	pid_t pid = argc > 2 ? atoi(argv[1]) : 0;
	int alive = 1, at = 2;

	if (pid <= 0) {
		fprintf(stderr, "usage: inject PID CALL [ARGUMENT...] [-- CALL [ARGUMENT...]]... | inject PID filter N\n");
		return 2;
	}
	attach(pid);
	if (argc == 4 && !strcmp(argv[2], "filter")) {
		show_filter(pid, strtoul(argv[3], NULL, 0));
		at = argc;
	}
	for (int number = 0; alive && at < argc && number < CALLS_MAX; number++) {
		unsigned long a[ARGS_MAX] = { 0 };
		long call = atol(argv[at++]);

		for (int i = 0; at < argc && strcmp(argv[at], "--"); at++, i++)
			a[i % ARGS_MAX] = argument(pid, argv[at]);
		at++;
		alive = make(pid, number, call, a);
	}
	if (alive)
		let_go(pid);
	return 0;
}
