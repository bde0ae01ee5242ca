/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * port.h - all that the channel needs from its host: integers, ordered words, memcpy.
 * Trust: none needed; nothing here looks at what it moves.
 *
 * The only file of chan/ with an operating system in it. Three hosts: user space (gcc, clang),
 * freestanding (a unikernel), and the Linux kernel.
 *
 * Ordering. Shared words are touched through these operations and nothing else:
 *   mw_load_acquire   reads a word the other side publishes; pairs with its mw_store_release
 *   mw_store_release  publishes a word of ours
 *   mw_load, mw_store no order beyond the word itself
 *   mw_fence          full fence: our store before it is seen before our load after it
 */
#ifndef MW_CHAN_PORT_H
#define MW_CHAN_PORT_H

#ifdef __KERNEL__

#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/types.h>
#include <asm/barrier.h>

#define mw_load(p)             READ_ONCE(*(p))
#define mw_store(p, v)         WRITE_ONCE(*(p), (v))
#define mw_load_acquire(p)     smp_load_acquire(p)
#define mw_store_release(p, v) smp_store_release((p), (v))
#define mw_fence()             smp_mb()
#define mw_order()             barrier()
#define MW_ASSERT(e, m)        static_assert(e, m)
typedef uintptr_t mw_uintptr;

#else

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef MW_FREESTANDING
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int c, size_t n);
#define EPROTO 71
#define EAGAIN 11
#define EINVAL 22
#else
#include <errno.h>
#include <string.h>
#endif

#define mw_load(p)             __atomic_load_n((p), __ATOMIC_RELAXED)
#define mw_store(p, v)         __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define mw_load_acquire(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define mw_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define mw_fence()             __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define mw_order()             __atomic_signal_fence(__ATOMIC_SEQ_CST) /* for who reads when we are dead */
#define MW_ASSERT(e, m)        _Static_assert(e, m)
typedef uintptr_t mw_uintptr;

#endif

/* Memory that the other side can write. clang refuses to dereference it; only MW_WORD and ring.c strip the mark. */
#ifdef __CHECKER__
#define __peer __attribute__((noderef, address_space(7)))
#elif defined(__clang__) && !defined(__KERNEL__)
#define __peer __attribute__((noderef))
#else
#define __peer
#endif

/* MW_PEER(p): puts the mark on the bytes of a fresh mapping. */
#ifdef __CHECKER__
#define MW_PEER(p) ((__attribute__((force)) uint8_t __peer *)(p))
#else
#define MW_PEER(p) ((uint8_t __peer *)(p))
#endif

/* MW_WORD(p): a plain pointer to one shared word (or to ring bytes), for the ordered operations above. */
#ifdef __CHECKER__
#define MW_WORD(p) ((__typeof__(*(p)) __attribute__((force)) *)(__attribute__((force)) mw_uintptr)(p))
#else
#define MW_WORD(p) _Generic((p), \
	uint8_t *: (uint8_t *)(mw_uintptr)(p), \
	uint16_t *: (uint16_t *)(mw_uintptr)(p), \
	uint32_t *: (uint32_t *)(mw_uintptr)(p), \
	int32_t *: (int32_t *)(mw_uintptr)(p), \
	uint64_t *: (uint64_t *)(mw_uintptr)(p))
#endif

#endif
