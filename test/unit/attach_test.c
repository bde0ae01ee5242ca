/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim/attach.c before an INS that breaks off.
 * Trust: none. The INS is in a network namespace of the test's own, where nobody else has its name.
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
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link/memfd.h"
#include "shim/shim.h"


bool plain_on;

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

static int listening(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = MW_CONNECT_NAME };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&un, offsetof(struct sockaddr_un, sun_path) + sizeof(MW_CONNECT_NAME) - 1), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(closes_nothing) };

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		perror("attach_test: unshare");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
