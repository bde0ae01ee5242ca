// SPDX-License-Identifier: Apache-2.0
/*
 * starve_app.c - a word over TCP and over UDP to itself, and a lookup. Prints "works"; or which call refused, and ends with 3. What
 * never comes ends it by SIGALRM; what comes otherwise, with 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT_S 10
#define WORD    "hello"

static struct sockaddr_in here = { .sin_family = AF_INET };

/* What a call returned, unless it refused. */
static int need(int r, const char *what)
{
	if (r >= 0)
		return r;
	printf("refused: %s: %s\n", what, strerror(errno));
	exit(3);
}

static void expect(int fd, const char *what)
{
	char got[16];
	size_t n = 0;

	while (n < strlen(WORD)) {
		int r = need((int)recv(fd, got + n, sizeof(got) - n, 0), what);

		if (r == 0)
			break;
		n += (size_t)r;
	}
	if (n == 0) { /* ended: as a reset, when its stack has died */
		printf("refused: %s: ended\n", what);
		exit(3);
	}
	if (n != strlen(WORD) || memcmp(got, WORD, n)) {
		printf("wrong: %s\n", what);
		exit(1);
	}
}

static void stream(void)
{
	int server = need(socket(AF_INET, SOCK_STREAM, 0), "socket"), client, peer, on = 1;

	need(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), "setsockopt");
	need(bind(server, (struct sockaddr *)&here, sizeof(here)), "bind");
	need(listen(server, 5), "listen");
	client = need(socket(AF_INET, SOCK_STREAM, 0), "socket");
	need(connect(client, (struct sockaddr *)&here, sizeof(here)), "connect");
	peer = need(accept(server, NULL, NULL), "accept");
	need((int)send(client, WORD, strlen(WORD), MSG_NOSIGNAL), "send");
	expect(peer, "tcp");
	close(peer);
	close(client);
	close(server);
}

static void datagram(void)
{
	int to = need(socket(AF_INET, SOCK_DGRAM, 0), "socket"), from = need(socket(AF_INET, SOCK_DGRAM, 0), "socket");

	need(bind(to, (struct sockaddr *)&here, sizeof(here)), "bind");
	need((int)sendto(from, WORD, strlen(WORD), 0, (struct sockaddr *)&here, sizeof(here)), "sendto");
	expect(to, "udp");
	close(to);
	close(from);
}

int main(void)
{
	struct addrinfo *found = NULL;
	int r;

	here.sin_port = htons(7000);
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	alarm(LIMIT_S);
	stream();
	datagram();
	r = getaddrinfo("localhost", "80", NULL, &found);
	if (r) {
		printf("refused: getaddrinfo: %s\n", gai_strerror(r));
		return 3;
	}
	freeaddrinfo(found);
	return puts("works") < 0 || fflush(stdout) ? 3 : 0;
}
