/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf.h - what kind of program a file is: can the shim serve it? Used by broker and shim (also in a vfork child).
 * Trust: the file is the user's; every offset and size in it is bounded, and a file that lies is only misjudged.
 */
#ifndef MW_LIB_ELF_H
#define MW_LIB_ELF_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum elf_kind {
	ELF_DYNAMIC,    /* makes its system calls through glibc, or is no program that we know */
	ELF_STATIC,     /* has no interpreter: nothing can be preloaded */
	ELF_OTHER_LIBC, /* its interpreter is not glibc's */
	ELF_GO,         /* Go makes its system calls itself, also when it is linked to libc */
};

/* Of a file or, for a script, of its interpreter. ELF_DYNAMIC also when it cannot be read: exec will say why. */
enum elf_kind elf_kind(const char *path);

/*
 * Will exec make it one that runs in secure mode, for which ld.so takes no LD_PRELOAD? Where its users or groups will
 * not be the caller's real ones, or where it has capabilities of its own.
 */
bool elf_secure(const char *path);

/* "a static program" */
const char *elf_kind_text(enum elf_kind kind);

/* As execvp() would find it. 0, or -ENOENT. */
int elf_search(const char *file, char path[PATH_MAX]);

#endif
