// SPDX-License-Identifier: Apache-2.0
/*
 * aio.c - asynchronous input and output on our sockets.
 * Trust: none.
 *
 * libc does it in threads of its own, with calls that nobody can stand in between: the socket goes to the stream lane,
 * whose descriptor carries the bytes. One that is not connected is refused.
 */
#include <aio.h>

#include "shim/fdtab.h"
#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/sock.h"
#include "shim/stream.h"

/* 0: libc may use the descriptor itself. */
static int prepare(int fd)
{
	struct sock k;
	int r = stream_convert(fd);

	return r == 0 && sock_get(fd, &k) && SLOT_INS(&k, lane) != MW_LANE_STREAM ? -ENOTCONN : r;
}

EXPORT int aio_read(struct aiocb *cb)
{
	int r = prepare(cb->aio_fildes);

	return r < 0 ? (int)ret(r) : libc()->aio_read(cb);
}

EXPORT int aio_read64(struct aiocb64 *cb)
{
	return aio_read((struct aiocb *)cb);
}

EXPORT int aio_write(struct aiocb *cb)
{
	int r = prepare(cb->aio_fildes);

	return r < 0 ? (int)ret(r) : libc()->aio_write(cb);
}

EXPORT int aio_write64(struct aiocb64 *cb)
{
	return aio_write((struct aiocb *)cb);
}

EXPORT int lio_listio(int mode, struct aiocb *const list[restrict], int count, struct sigevent *restrict event)
{
	for (int i = 0; i < count; i++) {
		int r = list[i] && list[i]->aio_lio_opcode != LIO_NOP ? prepare(list[i]->aio_fildes) : 0;

		if (r < 0)
			return (int)ret(r);
	}
	return libc()->lio_listio(mode, list, count, event);
}

EXPORT int lio_listio64(int mode, struct aiocb64 *const list[restrict], int count, struct sigevent *restrict event)
{
	return lio_listio(mode, (struct aiocb *const *)list, count, event);
}
