// SPDX-License-Identifier: GPL-2.0
/*
 * no_memory.c - a module for a test: the first GRANT that mwcomms.ko wants to send finds no memory, and is not sent. x86-64 alone.
 * Trust: none needed.
 *
 * The probe stands before mwk_control()'s first instruction, so that another function can take its place: arguments and the way
 * back are where it wants them.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/ptrace.h>

#include "chan/msg.h"

static unsigned int left = 1;
module_param(left, uint, 0444);

static noinline int no_memory(void)
{
	return -ENOMEM;
}

static int before(struct kprobe *p, struct pt_regs *regs)
{
	if ((u32)regs_get_kernel_argument(regs, 2) != MW_OP_GRANT || !left)
		return 0;
	left--;
	instruction_pointer_set(regs, (unsigned long)no_memory);
	return 1;
}

/* That there is one tells the kernel that the way may change. */
static void after(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe probe = { .symbol_name = "mwk_control", .pre_handler = before, .post_handler = after };

static int __init start(void)
{
	return register_kprobe(&probe);
}

static void __exit stop(void)
{
	unregister_kprobe(&probe);
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("No memory for a GRANT");
