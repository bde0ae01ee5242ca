// SPDX-License-Identifier: Apache-2.0
/*
 * stepkill.c - kills a process at a chosen instruction: so many behind the return of a chosen system call.
 *
 *   stepkill PID CALL STEPS [LIMIT_MS [SIGNAL [NTH]]]
 *
 * CALL is a system call's number, or -1: any. SIGNAL: instead of 9. NTH: of those calls that it makes,
 * from 1. Prints how many instructions it let pass, and exits with 0; with 3 when the
 * process did not make that call in time (it goes on then). exit_group() returns without its doing, so
 * that it can be stopped there. Used by lib/stepkill.py.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t late;

static void on_alarm(int sig)
{
	(void)sig;
	late = 1;
}

/* The next stop; false: it has ended, or there is no more time. */
static int next_stop(pid_t pid, int *status)
{
	return waitpid(pid, status, __WALL) == pid && WIFSTOPPED(*status);
}

static int go(pid_t pid, int how, int signal_number, int *status)
{
	return ptrace((enum __ptrace_request)how, pid, 0, (long)signal_number) == 0 && next_stop(pid, status);
}

/* Until it has returned from the call without an error. */
static int reach(pid_t pid, long call, int nth)
{
	struct user_regs_struct r;
	int status, inside = 0, pass = 0;

	while (!late && go(pid, PTRACE_SYSCALL, pass, &status)) {
		pass = 0;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			pass = WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
			continue;
		}
		inside = !inside;
		if (ptrace(PTRACE_GETREGS, pid, 0, &r) < 0)
			return 0;
		if (inside && call == SYS_exit_group && (long)r.orig_rax == call) {
			r.orig_rax = -1UL; /* no call at all: it returns with ENOSYS */
			return ptrace(PTRACE_SETREGS, pid, 0, &r) == 0 && go(pid, PTRACE_SYSCALL, 0, &status);
		}
		if (!inside && (call < 0 || (long)r.orig_rax == call) && (long)r.rax >= 0 && --nth <= 0)
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction a = { .sa_handler = on_alarm };
	struct itimerval limit = { .it_value.tv_sec = 2 };
	int status, steps, number, done = 0;
	pid_t pid;
	long call;

	if (argc < 4) {
		fprintf(stderr, "usage: stepkill PID CALL STEPS [LIMIT_MS [SIGNAL [NTH]]]\n");
		return 2;
	}
	pid = atoi(argv[1]);
	call = atol(argv[2]);
	steps = atoi(argv[3]);
	if (argc > 4) {
		limit.it_value.tv_sec = atoi(argv[4]) / 1000;
		limit.it_value.tv_usec = atoi(argv[4]) % 1000 * 1000;
	}
	sigaction(SIGALRM, &a, NULL);
	if (ptrace(PTRACE_SEIZE, pid, 0, (long)PTRACE_O_TRACESYSGOOD) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0) {
		perror("stepkill: attach");
		return 1;
	}
	if (!next_stop(pid, &status))
		return 1;
	setitimer(ITIMER_REAL, &limit, NULL);
	if (!reach(pid, call, argc > 6 ? atoi(argv[6]) : 1)) {
		if (!late)
			return 1;
		setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
		if (ptrace(PTRACE_DETACH, pid, 0, 0) < 0) { /* it runs: only who is stopped can be let go */
			ptrace(PTRACE_INTERRUPT, pid, 0, 0);
			next_stop(pid, &status);
			ptrace(PTRACE_DETACH, pid, 0, 0);
		}
		return 3;
	}
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	while (done < steps && go(pid, PTRACE_SINGLESTEP, 0, &status))
		done++;
	number = argc > 5 ? atoi(argv[5]) : SIGKILL;
	if (number == SIGKILL)
		kill(pid, number);
	else
		ptrace(PTRACE_DETACH, pid, 0, (long)number); /* as if by its next instruction */
	waitpid(pid, &status, __WALL);
	printf("%d\n", done);
	return 0;
}
