// SPDX-License-Identifier: Apache-2.0
/*
 * door_meet.c - `door_meet PATH`, of mw-ins: a protected machine whose XenStore keys somebody else writes (test/xen/meet_test.py). Its INS
 * meets it there; then it listens, has one connection, and says "up". It ends with its INS, whose exit status it says.
 * Trust: none needed.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/door/app.h"

#define LOOPBACK 0x7f000001u

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(4010), .sin_addr.s_addr = htonl(LOOPBACK) };
	static struct app app;
	struct sock l, s;
	char text[8];
	int fd, status;

	if (argc != 2)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	app_own_network();
	app_make(&app);
	app_spawn(&app, argv[1], "xen");
	app_hello(&app);
	for (uint32_t i = 0; i < 4; i++)
		must(app_grant(&app, i, 1, 1) == 0);
	must(sock_new(&app, &l, MW_FAMILY_IP4, MW_TYPE_STREAM) == 0 && sock_bind(&app, &l, LOOPBACK, 4010) == 0);
	must(sock_listen(&app, &l, 5) == 0 && (fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	must(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && write(fd, "hello", 5) == 5);
	must(sock_accept(&app, &l, &s) == 0 && sock_recv(&app, &s, text, 5) == 5);
	printf("up\n");
	status = app_wait_end(&app);
	printf("ended %d\n", status);
	return 0;
}
