/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h - what differs between the kernels that the module is built for: Debian 12's 6.1 and newer.
 * Trust: none needed.
 */
#ifndef MW_KMOD_COMPAT_H
#define MW_KMOD_COMPAT_H

#include <linux/mm.h>
#include <linux/net.h>
#include <linux/shrinker.h>
#include <linux/version.h>
#include <net/sock.h>

#define MWK_SINCE(a, b) (LINUX_VERSION_CODE >= KERNEL_VERSION(a, b, 0))

/* proto_ops.accept: flags and kern, or one struct. */
#if MWK_SINCE(6, 10)
#define MWK_ACCEPT_ARGS     struct proto_accept_arg *arg
#define MWK_ACCEPT_FLAGS    (arg->flags)
#else
#define MWK_ACCEPT_ARGS     int flags, bool kern
#define MWK_ACCEPT_FLAGS    (flags)
#endif

/* Addresses are of no fixed size since 6.19. */
#if MWK_SINCE(6, 19)
#define mwk_sockaddr sockaddr_unsized
#else
#define mwk_sockaddr sockaddr
#endif

/* sendpage went with 6.5. */
#if MWK_SINCE(6, 5)
#define MWK_SENDPAGE
#else
#define MWK_SENDPAGE .sendpage = sock_no_sendpage,
#endif

#if !MWK_SINCE(6, 3)
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/* A shrinker is allocated since 6.7. */
#if MWK_SINCE(6, 7)
static inline struct shrinker *mwk_shrinker_new(const char *name, unsigned long (*count)(struct shrinker *, struct shrink_control *),
						unsigned long (*scan)(struct shrinker *, struct shrink_control *))
{
	struct shrinker *s = shrinker_alloc(0, "%s", name);

	if (!s)
		return NULL;
	s->count_objects = count;
	s->scan_objects = scan;
	shrinker_register(s);
	return s;
}

static inline void mwk_shrinker_free(struct shrinker *s)
{
	shrinker_free(s);
}
#else
static inline struct shrinker *mwk_shrinker_new(const char *name, unsigned long (*count)(struct shrinker *, struct shrink_control *),
						unsigned long (*scan)(struct shrinker *, struct shrink_control *))
{
	struct shrinker *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return NULL;
	s->count_objects = count;
	s->scan_objects = scan;
	s->seeks = DEFAULT_SEEKS;
	if (!register_shrinker(s, "%s", name))
		return s;
	kfree(s);
	return NULL;
}

static inline void mwk_shrinker_free(struct shrinker *s)
{
	unregister_shrinker(s);
	kfree(s);
}
#endif

#endif
