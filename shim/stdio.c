// SPDX-License-Identifier: Apache-2.0
/*
 * stdio.c - streams on our sockets.
 * Trust: none.
 *
 * stdio reads and writes inside libc, where nobody can stand in between. What it writes reaches the INS as stray data, in
 * order (chan/PROTOCOL.md, 4). For reading, the socket goes to the stream lane, whose descriptor carries the bytes.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/fdtab.h"
#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/stream.h"

EXPORT FILE *fdopen(int fd, const char *mode)
{
	int r = mode[0] == 'r' || strchr(mode, '+') ? stream_convert(fd) : 0;

	if (r < 0) {
		errno = -r;
		return NULL;
	}
	return libc()->fdopen(fd, mode);
}

EXPORT int fclose(FILE *f)
{
	fdtab_clear(fileno(f));
	return libc()->fclose(f);
}

EXPORT FILE *freopen(const char *restrict path, const char *restrict mode, FILE *restrict f)
{
	fdtab_clear(fileno(f));
	return libc()->freopen(path, mode, f);
}

EXPORT FILE *freopen64(const char *restrict path, const char *restrict mode, FILE *restrict f)
{
	return freopen(path, mode, f);
}

/* Started with a socket as its standard input, a program may read that by stdio. */
__attribute__((constructor)) static void start(void)
{
	stream_convert(STDIN_FILENO);
}
