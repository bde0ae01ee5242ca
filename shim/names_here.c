// SPDX-License-Identifier: Apache-2.0
/*
 * names_here.c - a lookup where sockets are the device's: by libc in this process, with this process's own files and user.
 * Trust: none is needed: the answer is libc's.
 *
 * libc makes the resolver's sockets inside libc, where no shim sees them. So the lookup is made by a thread with a filter, which is
 * that thread's alone: its socket() is answered by the thread that asked, which would wait anyway. To getaddrinfo the kernel's own
 * interfaces say nothing (there is `lo` alone), so it is told that they cannot be asked: then it looks for both families.
 * Where there is a filter that answers already (mw-trap's), that one does it.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "link/device.h"
#include "names/names.h"
#include "shim/libc.h"
#include "shim/names.h"

struct task {
	const struct names_ask *ask;
	struct names_out out;
	int result;
	int listener;           /* where its calls are told of, or -1: they are not */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool begun;
};

/* The calling thread's. The listener, or -1. */
static int filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static void *run(void *arg)
{
	struct task *t = arg;
	int listener = filter();

	pthread_mutex_lock(&t->lock);
	t->listener = listener;
	t->begun = true;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
	t->result = lookup(t->ask, &t->out);
	return NULL;
}

/* Both threads have the same descriptors: the number that this one gets is that one's too. */
static void answer(int listener)
{
	struct seccomp_notif n = { 0 };
	struct seccomp_notif_resp r = { 0 };
	int fd;

	if (syscall(SYS_ioctl, listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
		return;
	r.id = n.id;
	if (device_makes((int)n.data.args[0], (int)n.data.args[1])) {
		fd = device_socket((int)n.data.args[0], (int)n.data.args[1], (int)n.data.args[2]);
		r.val = fd < 0 ? 0 : fd;
		r.error = fd < 0 ? fd : 0;
	} else {
		fd = -1;
		r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	}
	if (syscall(SYS_ioctl, listener, SECCOMP_IOCTL_NOTIF_SEND, &r) < 0 && fd >= 0)
		syscall(SYS_close, fd);
}

/* Until the thread has ended. */
static void serve(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	long n;

	while ((n = syscall(SYS_poll, &p, 1, -1)) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0 && p.revents & POLLIN)
			answer(listener);
		else if (n > 0)
			break;
	}
	syscall(SYS_close, listener);
}

/* No signal of the application's is delivered to a thread of ours. */
static bool start(pthread_t *thread, struct task *t)
{
	sigset_t all, old;
	bool good;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	good = pthread_create(thread, NULL, run, t) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return good;
}

static void look(struct task *t)
{
	pthread_t thread;
	int cancel;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	if (start(&thread, t)) {
		pthread_mutex_lock(&t->lock);
		while (!t->begun)
			pthread_cond_wait(&t->changed, &t->lock);
		pthread_mutex_unlock(&t->lock);
		if (t->listener >= 0)
			serve(t->listener);
		pthread_join(thread, NULL);
	} else {
		t->result = lookup(t->ask, &t->out);
	}
	pthread_setcancelstate(cancel, NULL);
}

int names_lookup(struct names_ask *ask, struct names_answer *a)
{
	struct task t = { .ask = ask, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	int saved = errno;

	if (!device_used())
		return names_ask(ask, a);
	a->record = NULL;
	a->fd = -1;
	look(&t);
	errno = saved;
	if (t.result == 0 && names_reply_get(&a->r, t.out.at, t.out.bytes) == 0) {
		a->record = t.out.at;
		return 0;
	}
	free(t.out.at);
	return t.result == -ENOMEM ? -ENOMEM : -EAGAIN;
}
