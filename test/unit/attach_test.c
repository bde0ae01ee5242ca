/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim/attach.c before an INS that breaks off, and shim/lock.c after one that wrote what it liked into a lock's word.
 * Trust: none. The INS is a child, in a network namespace of the test's own, where nobody else has its name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "chan/msg.h"
#include "lib/fdpass.h"
#include "link/memfd.h"
#include "shim/attach.h"
#include "shim/fdtab.h"
#include "shim/fork.h"
#include "shim/lock.h"
#include "shim/plain.h"

#define SLOTS    64u
#define PATIENCE 20

bool plain_on;

static struct mw_roster *roster;
static struct mw_view arena; /* as the INS has it */

/* --- what attach.c asks of the rest of the shim --- */

int own_pid(void)
{
	return (int)syscall(SYS_getpid);
}

int own_tid(void)
{
	return (int)syscall(SYS_gettid);
}

bool in_own_process(void)
{
	return true;
}

bool fdtab_has(uint32_t ins)
{
	return ins == 0;
}

/* --- the INS --- */

static int listening(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = MW_CONNECT_NAME };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&un, offsetof(struct sockaddr_un, sun_path) + sizeof(MW_CONNECT_NAME) - 1), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* One hello, answered as an honest one does; then it stays, without another word. */
static void serve(int listener, const int fds[3])
{
	int fd = accept(listener, NULL, NULL);
	struct mw_reply r = { .bytes = sizeof(r) };
	struct mw_req q;

	if (recv(fd, &q, sizeof(q), 0) < (ssize_t)sizeof(uint64_t))
		_exit(1);
	r.op = q.op;
	r.seq = q.seq;
	if (fdpass_send(fd, &r, sizeof(r), fds, 3, 0) != sizeof(r))
		_exit(2);
	pause();
	_exit(0);
}

static pid_t honest(int listener)
{
	void *page;
	int fds[] = { memfd_make(&arena, SLOTS, MW_RING_BYTES_MIN, MW_RING_BYTES_MIN), eventfd(0, EFD_CLOEXEC), memfd_make_plain("roster", MW_PAGE, &page) };
	pid_t child;

	roster = page;
	roster->high = 2;
	roster->state[0] = roster->state[1] = MW_INS_UP;
	child = fork();
	if (child == 0)
		serve(listener, fds);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	return child;
}

/* --- tests --- */

/* From now on no message goes out of this process, as when the other end is closed at that moment; and it ends if it closes any other. */
static void send_nothing(int and_close)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)and_close, 1, 2),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPIPE),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
		_exit(9);
}

static int application(void)
{
	int next = dup(STDERR_FILENO);

	close(next); /* the connection's number */
	send_nothing(next);
	return attach() == -ENETDOWN ? 0 : 1;
}

static void closes_nothing(void **state)
{
	int listener = listening(), status = -1;
	pid_t child = fork();

	(void)state;
	if (child == 0)
		_exit(application());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(listener);
}

/* Held by a thread that lives, it says, and holds nothing. */
static void ended_with_a_lock(void **state)
{
	int listener = listening(), status;
	pid_t ins = honest(listener);
	struct timespec from, to;
	uint32_t *word;

	(void)state;
	assert_int_equal(attach(), 0);
	word = MW_WORD(&arena_slot(&shim_views[0], 3)->app.rx_lock);
	*MW_WORD(&arena_slot(&arena, 3)->app.rx_lock) = (uint32_t)getppid();
	kill(ins, SIGKILL);
	assert_int_equal(waitpid(ins, &status, 0), ins);
	roster->state[0] = MW_INS_NONE;
	alarm(PATIENCE); /* it waited for ever */
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_true(lock_take(word));
	clock_gettime(CLOCK_MONOTONIC, &to);
	lock_drop(word);
	alarm(0);
	assert_int_equal(*word, 0);
	assert_true(to.tv_sec - from.tv_sec <= 3);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(closes_nothing), cmocka_unit_test(ended_with_a_lock) };

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		perror("attach_test: unshare");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
