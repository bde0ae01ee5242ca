// SPDX-License-Identifier: Apache-2.0
/*
 * elf.c - see elf.h. System calls, not libc's functions, and stack memory only: the caller may be a vfork child.
 * Trust: as in the header.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/elf.h"

#define SCRIPTS_MAX  4   /* as Linux: a script's interpreter may be a script */
#define HEADERS_MAX  64
#define NOTES_MAX    4096
#define GO_NOTE      4u  /* "Go build ID", written by Go's linker */

static long get(int fd, void *to, size_t n, uint64_t at)
{
	return syscall(SYS_pread64, fd, to, n, at);
}

static int is_go_note(int fd, const Elf64_Phdr *h)
{
	uint8_t bytes[NOTES_MAX] __attribute__((aligned(4)));
	long n = get(fd, bytes, h->p_filesz < sizeof(bytes) ? h->p_filesz : sizeof(bytes), h->p_offset);
	long at = 0;

	while (at + (long)sizeof(Elf64_Nhdr) + 4 <= n) {
		Elf64_Nhdr note;

		memcpy(&note, bytes + at, sizeof(note));
		if (note.n_type == GO_NOTE && note.n_namesz == 4 && !memcmp(bytes + at + sizeof(note), "Go\0", 4))
			return 1;
		if (note.n_namesz > NOTES_MAX || note.n_descsz > NOTES_MAX)
			return 0;
		at += (long)(sizeof(note) + ((note.n_namesz + 3u) & ~3u) + ((note.n_descsz + 3u) & ~3u));
	}
	return 0;
}

static int is_glibc(int fd, const Elf64_Phdr *h)
{
	char path[128] = "", *slash;

	if (get(fd, path, sizeof(path) - 1, h->p_offset) <= 0)
		return 1;
	slash = strrchr(path, '/');
	return !strncmp(slash ? slash + 1 : path, "ld-linux", 8);
}

static enum elf_kind program_kind(int fd, const Elf64_Ehdr *e)
{
	enum elf_kind kind = ELF_STATIC;

	for (int i = 0; i < e->e_phnum && i < HEADERS_MAX; i++) {
		Elf64_Phdr h;

		if (get(fd, &h, sizeof(h), e->e_phoff + (uint64_t)i * sizeof(h)) != sizeof(h))
			return ELF_DYNAMIC;
		if (h.p_type == PT_NOTE && is_go_note(fd, &h))
			return ELF_GO;
		if (h.p_type == PT_INTERP)
			kind = is_glibc(fd, &h) ? ELF_DYNAMIC : ELF_OTHER_LIBC;
	}
	return kind;
}

/* The word behind "#!", in place; NULL when there is none. */
static char *interpreter(char *line, long n)
{
	char *end;

	line[n] = 0;
	line += 2 + strspn(line + 2, " \t");
	end = line + strcspn(line, " \t\n");
	*end = 0;
	return *line ? line : NULL;
}

union head {
	Elf64_Ehdr e;
	char text[256];
};

/* The file that the kernel will load for it, which for a script is its interpreter. A descriptor, or -1. */
static int open_program(const char *path, union head *head, long *n)
{
	for (int i = 0; i <= SCRIPTS_MAX && path; i++) {
		int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

		*n = fd < 0 ? -1 : get(fd, head, sizeof(*head) - 1, 0);
		if (*n < 2 || memcmp(head->text, "#!", 2) != 0)
			return fd;
		syscall(SYS_close, fd);
		path = interpreter(head->text, *n);
		if (path) {
			char *copy = __builtin_alloca(strlen(path) + 1);

			path = strcpy(copy, path);
		}
	}
	return -1;
}

enum elf_kind elf_kind(const char *path)
{
	enum elf_kind kind = ELF_DYNAMIC;
	union head head;
	long n;
	int fd = open_program(path, &head, &n);

	if (fd < 0)
		return kind;
	if (n >= (long)sizeof(head.e) && !memcmp(head.e.e_ident, ELFMAG, SELFMAG) &&
	    head.e.e_ident[EI_CLASS] == ELFCLASS64 && head.e.e_phentsize == sizeof(Elf64_Phdr))
		kind = program_kind(fd, &head.e);
	syscall(SYS_close, fd);
	return kind;
}

/* As the kernel's bprm_fill_uid() and cap_bprm_creds_from_file(). */
static bool file_secure(int fd)
{
	const long user = syscall(SYS_getuid), group = syscall(SYS_getgid);
	long new_user = syscall(SYS_geteuid), new_group = syscall(SYS_getegid);
	bool capable = false;
	struct stat st;
	struct statfs fs;

	if (fd >= 0 && fstat(fd, &st) == 0 && fstatfs(fd, &fs) == 0 && !(fs.f_flags & ST_NOSUID)) {
		if (st.st_mode & S_ISUID)
			new_user = st.st_uid;
		if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
			new_group = st.st_gid;
		capable = user != 0 && syscall(SYS_fgetxattr, fd, "security.capability", NULL, 0) > 0;
	}
	return new_user != user || new_group != group || capable;
}

bool elf_secure(const char *path)
{
	union head head;
	long n;
	int fd = open_program(path, &head, &n), saved = errno;
	bool secure = file_secure(fd);

	if (fd >= 0)
		syscall(SYS_close, fd);
	errno = saved;
	return secure;
}

const char *elf_kind_text(enum elf_kind kind)
{
	static const char *const texts[] = { [ELF_DYNAMIC] = "a dynamic program", [ELF_STATIC] = "a static program",
					     [ELF_OTHER_LIBC] = "a program with another libc than glibc",
					     [ELF_GO] = "a Go program" };

	return texts[kind];
}

int elf_search(const char *file, char path[PATH_MAX])
{
	const char *list = getenv("PATH");
	size_t name = strlen(file);

	if (strchr(file, '/')) {
		if (name >= PATH_MAX)
			return -ENOENT;
		strcpy(path, file);
		return 0;
	}
	if (!list)
		list = "/bin:/usr/bin";
	for (;;) {
		size_t n = strcspn(list, ":");

		if (n + name + 2 <= PATH_MAX) {
			memcpy(path, list, n);
			path[n] = '/';
			strcpy(path + n + (n > 0), file);
			if (syscall(SYS_faccessat, AT_FDCWD, path, X_OK) == 0)
				return 0;
		}
		if (!list[n])
			return -ENOENT;
		list += n + 1;
	}
}
