// SPDX-License-Identifier: Apache-2.0
/*
 * elf_fuzz.c - libFuzzer target: any file as a program, also as one that begins as an ELF program does.
 * Trust: none. The first byte says what is put right: the head, the kinds of program headers, a script's interpreter being itself.
 */
#include <elf.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/elf.h"
#include "test/fuzz/input.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

#define HEADERS 3

static char path[64];
static int file;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	file = memfd_create("program", 0);
	must(file >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return 0;
}

static size_t put(size_t at, const void *from, size_t n)
{
	must(pwrite(file, from, n, (off_t)at) == (ssize_t)n);
	return at + n;
}

/* A head and headers of the kinds that are looked at, each with contents from the input. */
static size_t program(struct input *in)
{
	Elf64_Ehdr e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64 }, .e_phoff = sizeof(e), .e_phentsize = sizeof(Elf64_Phdr) };
	size_t at = sizeof(e), end = sizeof(e) + HEADERS * sizeof(Elf64_Phdr);

	e.e_phnum = next_byte(in) % (HEADERS + 1);
	put(0, &e, sizeof(e));
	for (int i = 0; i < HEADERS; i++) {
		uint8_t kind = next_byte(in), part[64], n = next_byte(in) % sizeof(part);
		Elf64_Phdr h = { .p_type = kind & 1 ? PT_NOTE : kind & 2 ? PT_INTERP : PT_LOAD, .p_offset = end, .p_filesz = n };

		if (kind & 4)
			next_bytes(in, &h, sizeof(h));
		at = put(at, &h, sizeof(h));
		next_bytes(in, part, n);
		end = put(end, part, n);
	}
	return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = { data, data + n };
	uint8_t how = next_byte(&in);
	size_t end = 0;
	char found[PATH_MAX];

	must(ftruncate(file, 0) == 0);
	if (how & 1)
		end = program(&in);
	if (how & 2) {
		end = put(0, "#! ", 3);
		end = how & 4 ? put(end, path, strlen(path)) : end;
	}
	put(end, in.at, input_left(&in));
	must(elf_kind_text(elf_kind(path)) != NULL);
	must(!elf_secure(path) || geteuid() != getuid() || getegid() != getgid());
	if (n && memchr(data, 0, n))
		must(elf_search((const char *)data, found) <= 0);
	return 0;
}
