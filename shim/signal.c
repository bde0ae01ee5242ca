// SPDX-License-Identifier: Apache-2.0
/*
 * signal.c - SIGSEGV and SIGBUS of our own copies (user.c); everything else about signals is the application's.
 * Trust: none.
 *
 * Once a process has a socket of ours, our handler stands before the application's for these two. What the application
 * sets and reads is kept here: a fault that is not ours gets its handler, with the mask and the flags that it asked
 * for, or the default action. A signal that it ignores is left ignored. A thread that blocks SIGSEGV is ended by a wrong
 * address, since then the kernel asks nobody.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "shim/attach.h"
#include "shim/fork.h"
#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/user.h"

static struct sigaction theirs[2];
static bool guarding[2]; /* our handler is in place */

static int which(int sig)
{
	return sig == SIGSEGV ? 0 : sig == SIGBUS ? 1 : -1;
}

/* The default action of this very signal: a fault happens again on return, one that was sent is sent again. */
static void by_default(int sig, const siginfo_t *si)
{
	struct sigaction none = { .sa_handler = SIG_DFL };

	libc()->sigaction(sig, &none, NULL);
	if (si->si_code <= 0)
		syscall(SYS_tkill, own_tid(), sig);
}

static void on_fault(int sig, siginfo_t *si, void *context)
{
	const ucontext_t *u = context;
	struct sigaction *a = &theirs[which(sig)];
	struct sigaction now = *a;

	user_fault(si, &u->uc_sigmask);
	if (now.sa_handler == SIG_DFL) {
		by_default(sig, si);
		return;
	}
	if (now.sa_flags & (int)SA_RESETHAND)
		a->sa_handler = SIG_DFL;
	if (now.sa_flags & SA_SIGINFO)
		now.sa_sigaction(sig, si, context);
	else
		now.sa_handler(sig);
}

/* Ours for theirs: with its flags, so that its handler runs as it asked. */
static int put_ours(int sig, const struct sigaction *a)
{
	struct sigaction ours = *a;

	if (a->sa_handler == SIG_DFL) {
		memset(&ours, 0, sizeof(ours));
		ours.sa_flags = SA_ONSTACK | SA_NODEFER;
	}
	ours.sa_sigaction = on_fault;
	ours.sa_flags = (ours.sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
	return libc()->sigaction(sig, &ours, NULL);
}

void signal_guard(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS };

	for (int i = 0; i < 2; i++)
		if (!guarding[i] && libc()->sigaction(signals[i], NULL, &theirs[i]) == 0 && theirs[i].sa_handler != SIG_IGN)
			guarding[i] = put_ours(signals[i], &theirs[i]) == 0;
}

/* Sockets that came by exec are known by now: see fork.c. */
__attribute__((constructor)) static void start(void)
{
	if (shim_attached)
		signal_guard();
}

static int set(int sig, const struct sigaction *a)
{
	int i = which(sig), r;

	if (a->sa_handler != SIG_IGN)
		theirs[i] = *a;
	r = a->sa_handler == SIG_IGN ? libc()->sigaction(sig, a, NULL) : put_ours(sig, a);
	if (r == 0)
		guarding[i] = a->sa_handler != SIG_IGN;
	return r;
}

EXPORT int sigaction(int sig, const struct sigaction *restrict a, struct sigaction *restrict old)
{
	struct sigaction was, is;
	int i = which(sig);

	if (i < 0 || (!guarding[i] && !shim_attached) || !in_own_process())
		return libc()->sigaction(sig, a, old);
	if (guarding[i])
		was = theirs[i];
	else if (libc()->sigaction(sig, NULL, &was) < 0)
		return -1;
	if (a) {
		is = *a;
		if (set(sig, &is) < 0)
			return -1;
	}
	if (old)
		*old = was;
	return 0;
}

EXPORT int __sigaction(int sig, const struct sigaction *restrict a, struct sigaction *restrict old);
EXPORT int __sigaction(int sig, const struct sigaction *restrict a, struct sigaction *restrict old)
{
	return sigaction(sig, a, old);
}

static sighandler_t set_simply(int sig, sighandler_t handler, int flags)
{
	struct sigaction a = { .sa_handler = handler, .sa_flags = flags }, old;

	if (handler == SIG_ERR) {
		errno = EINVAL;
		return SIG_ERR;
	}
	if (!(flags & (int)SA_NODEFER))
		sigaddset(&a.sa_mask, sig);
	return sigaction(sig, &a, &old) < 0 ? SIG_ERR : old.sa_handler;
}

EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	return which(sig) < 0 ? libc()->signal(sig, handler) : set_simply(sig, handler, SA_RESTART);
}

EXPORT sighandler_t ssignal(int sig, sighandler_t handler)
{
	return signal(sig, handler);
}

EXPORT sighandler_t bsd_signal(int sig, sighandler_t handler);
EXPORT sighandler_t bsd_signal(int sig, sighandler_t handler)
{
	return signal(sig, handler);
}

EXPORT sighandler_t sysv_signal(int sig, sighandler_t handler)
{
	return which(sig) < 0 ? libc()->sysv_signal(sig, handler)
			      : set_simply(sig, handler, (int)(SA_RESETHAND | SA_NODEFER));
}

EXPORT sighandler_t __sysv_signal(int sig, sighandler_t handler)
{
	return sysv_signal(sig, handler);
}
