// SPDX-License-Identifier: Apache-2.0
/*
 * names_client.c - looks names up as it is told, one command a line on stdin, and prints all that comes back.
 * Run natively and protected by names_test.py, which compares the two texts.
 */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS 8
#define THREADS 20

static const char *text(const char *word)
{
	return !strcmp(word, "-") ? NULL : !strcmp(word, "''") ? "" : word;
}

static void print_addr(const void *sa, socklen_t len)
{
	const unsigned char *byte = sa;

	printf(" %u:", len);
	for (socklen_t i = 0; i < len; i++)
		printf("%02x", byte[i]);
}

/* ai NODE SERVICE [FLAGS FAMILY TYPE PROTOCOL] */
static void addrinfo(char **w, int n)
{
	struct addrinfo hints = { .ai_flags = n > 3 ? atoi(w[3]) : 0, .ai_family = n > 4 ? atoi(w[4]) : 0,
				  .ai_socktype = n > 5 ? atoi(w[5]) : 0, .ai_protocol = n > 6 ? atoi(w[6]) : 0 };
	struct addrinfo *list = NULL;
	int r = getaddrinfo(text(w[1]), text(w[2]), n > 3 ? &hints : NULL, &list);

	printf(" %d %s", r, r ? gai_strerror(r) : "ok");
	if (r == EAI_SYSTEM)
		printf(" %s", strerror(errno));
	for (struct addrinfo *ai = list; ai && !r; ai = ai->ai_next) {
		printf("\n  %x %d %d %d", ai->ai_flags, ai->ai_family, ai->ai_socktype, ai->ai_protocol);
		print_addr(ai->ai_addr, ai->ai_addrlen);
		printf(" %s", ai->ai_canonname ? ai->ai_canonname : "-");
	}
	if (!r)
		freeaddrinfo(list);
}

/* ni ADDRESS PORT FLAGS HOST_ROOM SERVICE_ROOM; a room of -1: no buffer */
static void nameinfo(char **w)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
	char host[1100] = "", service[1100] = "";
	int host_room = atoi(w[4]), service_room = atoi(w[5]), r;
	socklen_t len = sizeof(*in);

	ss.ss_family = strchr(w[1], ':') ? AF_INET6 : AF_INET;
	if (ss.ss_family == AF_INET6) {
		len = sizeof(*in6);
		inet_pton(AF_INET6, w[1], &in6->sin6_addr);
	} else if (inet_pton(AF_INET, w[1], &in->sin_addr) != 1) {
		len = (socklen_t)atoi(w[1] + 1); /* xN: a length that is wrong */
	}
	in->sin_port = htons((uint16_t)atoi(w[2]));
	r = getnameinfo((struct sockaddr *)&ss, len, host_room < 0 ? NULL : host, (socklen_t)(host_room < 0 ? 0 : host_room),
			service_room < 0 ? NULL : service, (socklen_t)(service_room < 0 ? 0 : service_room), atoi(w[3]));
	printf(" %d %s '%s' '%s'", r, r ? gai_strerror(r) : "ok", r ? "" : host, r ? "" : service);
}

static void print_host(const struct hostent *h, int herror)
{
	if (!h) {
		printf(" none, h_errno %d", herror);
		return;
	}
	printf(" %s type %d length %d aliases", h->h_name, h->h_addrtype, h->h_length);
	for (char **a = h->h_aliases; *a; a++)
		printf(" %s", *a);
	printf(" addresses");
	for (char **a = h->h_addr_list; *a; a++)
		print_addr(*a, (socklen_t)h->h_length);
}

/* h NAME, h2 NAME FAMILY */
static void look_host(char **w, int family)
{
	const struct hostent *h;

	h_errno = 0;
	h = family ? gethostbyname2(w[1], family) : gethostbyname(w[1]);
	print_host(h, h_errno);
}

/* hr NAME FAMILY: the _r form, with a block that grows from nothing */
static void host_r(char **w)
{
	struct hostent h, *found = NULL;
	char *block = NULL;
	size_t bytes = 0;
	int r, herror = 0, grown = 0;

	do {
		bytes = bytes * 2 + 8;
		free(block);
		block = malloc(bytes);
		r = atoi(w[2]) ? gethostbyname2_r(w[1], atoi(w[2]), &h, block, bytes, &found, &herror)
			       : gethostbyname_r(w[1], &h, block, bytes, &found, &herror);
		grown += r == ERANGE && herror == NETDB_INTERNAL && !found;
	} while (r == ERANGE && bytes < 1u << 20);
	printf(" %d%s", r, grown ? " grew" : "");
	print_host(found, herror);
	free(block);
}

/* ha ADDRESS TYPE LENGTH, har the same */
static void host_addr(char **w, int reentrant)
{
	unsigned char addr[16] = { 0 };
	int type = atoi(w[2]), herror = 0, r = 0;
	struct hostent h, *found = NULL;
	char block[16384];

	inet_pton(strchr(w[1], ':') ? AF_INET6 : AF_INET, w[1], addr);
	if (reentrant) {
		r = gethostbyaddr_r(addr, (socklen_t)atoi(w[3]), type, &h, block, sizeof(block), &found, &herror);
	} else {
		found = gethostbyaddr(addr, (socklen_t)atoi(w[3]), type);
		herror = h_errno;
	}
	printf(" %d", r);
	print_host(found, herror);
}

static void print_message(int n, const unsigned char *answer, int room)
{
	int error = errno;

	printf(" %d", n);
	if (n < 0)
		printf(" h_errno %d errno %s", h_errno, strerror(error));
	for (int i = 2; i < n && i < room; i++) /* behind the query's random id */
		printf("%s%02x", i == 2 ? " " : "", answer[i]);
}

/* q, s, nq, ns NAME TYPE [ROOM]; qd NAME DOMAIN TYPE; send NAME TYPE; opt NAME TYPE: with an option set in _res */
static void message(char **w, int n)
{
	static unsigned char answer[65536];
	unsigned char query[600];
	int type = n > 2 ? atoi(w[2]) : 1, room = n > 3 ? atoi(w[3]) : (int)sizeof(answer), r = -1;
	struct __res_state st = { 0 };

	h_errno = 0;
	errno = 0;
	if (!strcmp(w[0], "q"))
		r = res_query(w[1], C_IN, type, answer, room);
	else if (!strcmp(w[0], "s"))
		r = res_search(w[1], C_IN, type, answer, room);
	else if (!strcmp(w[0], "qd"))
		r = res_querydomain(w[1], w[2], C_IN, atoi(w[3]), answer, room = sizeof(answer));
	else if (!strcmp(w[0], "send"))
		r = res_send(query, res_mkquery(QUERY, w[1], C_IN, type, NULL, 0, NULL, query, sizeof(query)), answer, room);
	else if (res_ninit(&st) == 0) {
		if (!strcmp(w[0], "nosearch"))
			st.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
		if (!strcmp(w[0], "nowhere"))
			st.nsaddr_list[0].sin_port = htons(9), st.retrans = st.retry = 1;
		r = !strcmp(w[0], "nq") ? res_nquery(&st, w[1], C_IN, type, answer, room)
					: res_nsearch(&st, w[1], C_IN, type, answer, room);
		if (r < 0)
			printf(" res_h_errno %d", st.res_h_errno);
		res_nclose(&st);
	}
	print_message(r, answer, room);
}

/* async: one call for several names, waited for, suspended on, and told by signal and by thread */
static volatile sig_atomic_t told;

static void on_signal(int number, siginfo_t *i, void *context)
{
	(void)context;
	told += number == SIGUSR1 && i->si_code == SI_ASYNCNL && i->si_value.sival_int == 7 ? 1 : 100;
}

static void on_thread(union sigval v)
{
	told += v.sival_int == 8 ? 1 : 100;
}

static void print_requests(struct gaicb **list, int n)
{
	for (int i = 0; i < n; i++) {
		char at[32] = "-";
		int r;

		if (!list[i])
			continue;
		r = gai_error(list[i]);
		if (r == 0) {
			inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)list[i]->ar_result->ai_addr)->sin_addr, at, sizeof(at));
			freeaddrinfo(list[i]->ar_result);
		}
		printf(" %d %s", r, at);
	}
}

static void async(void)
{
	struct addrinfo hints = { .ai_family = AF_INET };
	struct gaicb r[4] = { { .ar_name = "n1.one.test" }, { .ar_name = "late.bad.test" }, { .ar_name = "nowhere.one.test" },
			      { .ar_name = "n2" } };
	struct gaicb *list[5] = { &r[0], &r[1], NULL, &r[2], &r[3] }, *late = &r[1];
	struct timespec soon = { .tv_nsec = 50000000 };
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 7 };

	for (int i = 0; i < 4; i++)
		r[i].ar_request = &hints;
	printf(" %d", getaddrinfo_a(99, list, 5, NULL));
	printf(" wait %d", getaddrinfo_a(GAI_WAIT, list, 5, NULL));
	print_requests(list, 5);
	printf(" suspend %d", gai_suspend((const struct gaicb *const *)list, 5, NULL));
	sigaction(SIGUSR1, &act, NULL);
	told = 0;
	printf(" nowait %d", getaddrinfo_a(GAI_NOWAIT, list, 5, &e));
	printf(" %d", gai_error(late));
	printf(" suspend %d", gai_suspend((const struct gaicb *const *)&late, 1, &soon));
	printf(" %d", gai_suspend((const struct gaicb *const *)&late, 1, NULL));
	for (int i = 0; i < 500 && !told; i++)
		usleep(10000);
	printf(" told %d cancel %d", (int)told, gai_cancel(late));
	print_requests(list, 5);
	e = (struct sigevent){ .sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 8 };
	e.sigev_notify_function = on_thread;
	told = 0;
	printf(" thread %d", getaddrinfo_a(GAI_NOWAIT, list, 2, &e));
	for (int i = 0; i < 500 && !told; i++)
		usleep(10000);
	printf(" told %d none %d", (int)told, getaddrinfo_a(GAI_WAIT, list + 2, 1, NULL));
	print_requests(list, 2);
}

/* threads N: so many lookups of n1 to n20 in all, each compared with the address that the number says */
static int wanted;

static void *look_many(void *arg)
{
	long wrong = 0, me = (long)arg;

	for (int i = 0; i < wanted / THREADS; i++) {
		struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *list = NULL;
		int number = (int)((me + i) % 20) + 1;
		char name[32], at[32], seen[32] = "";

		snprintf(name, sizeof(name), "n%d.one.test", number);
		snprintf(at, sizeof(at), "192.0.2.%d", number);
		if (getaddrinfo(name, NULL, &hints, &list) == 0) {
			inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)list->ai_addr)->sin_addr, seen, sizeof(seen));
			freeaddrinfo(list);
		}
		wrong += strcmp(at, seen) != 0;
	}
	return (void *)wrong;
}

static void threads(int n)
{
	pthread_t thread[THREADS];
	long wrong = 0;

	wanted = n;
	for (long i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, look_many, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		pthread_join(thread[i], &result);
		wrong += (long)result;
	}
	printf(" %d lookups, %ld wrong", n, wrong);
}

static void *look_slow(void *arg)
{
	struct addrinfo *list = NULL;

	(void)arg;
	if (getaddrinfo("silent.bad.test", NULL, NULL, &list) == 0)
		freeaddrinfo(list);
	return NULL;
}

/* slow: 40 lookups that nobody answers, and one beside them that must not wait for them */
static void beside_slow(void)
{
	pthread_t thread[40];
	struct addrinfo *list = NULL;
	struct timespec from, to;
	int r;

	for (int i = 0; i < 40; i++)
		pthread_create(&thread[i], NULL, look_slow, NULL);
	usleep(200000);
	clock_gettime(CLOCK_MONOTONIC, &from);
	r = getaddrinfo("n1.one.test", NULL, NULL, &list);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf(" %d %s", r, to.tv_sec - from.tv_sec < 2 ? "at once" : "late");
	if (r == 0)
		freeaddrinfo(list);
	for (int i = 0; i < 40; i++)
		pthread_join(thread[i], NULL);
}

static void exhaust(void)
{
	struct rlimit l = { 3, 3 };

	printf(" %d", setrlimit(RLIMIT_NOFILE, &l));
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void state(char **w)
{
	if (!strcmp(w[0], "chroot"))
		printf(" %d", chroot(w[1]) < 0 || chdir("/") < 0 ? -errno : 0);
	else if (!strcmp(w[0], "setuid"))
		printf(" %d", setgid((gid_t)atoi(w[1])) < 0 || setuid((uid_t)atoi(w[1])) < 0 ? -errno : 0);
	else if (!strcmp(w[0], "init"))
		printf(" %d", res_init());
	else if (!strcmp(w[0], "option"))
		_res.options |= (unsigned long)atol(w[1]);
	else if (!strcmp(w[0], "closeall"))
		closefrom(3);
	else if (!strcmp(w[0], "descriptors"))
		printf(" %d", open_descriptors());
	else if (!strcmp(w[0], "env"))
		printf(" %d", setenv(w[1], w[2], 1));
	else if (!strcmp(w[0], "sleep"))
		usleep((useconds_t)atoi(w[1]) * 1000);
	else if (!strcmp(w[0], "exhaust"))
		exhaust();
	else if (!strcmp(w[0], "long"))
		printf(" (a name)");
	else
		printf(" ?");
}

/* long N: ai of a name of N letters */
static void long_name(int n)
{
	char *name = malloc((size_t)n + 1), *words[] = { (char *)(unsigned long)"ai", name, (char *)(unsigned long)"-" };

	memset(name, 'a', (size_t)n);
	for (int i = 50; i < n; i += 51)
		name[i] = '.';
	name[n] = 0;
	addrinfo(words, 3);
	free(name);
}

static void command(char **w, int n)
{
	if (!strcmp(w[0], "ai"))
		addrinfo(w, n);
	else if (!strcmp(w[0], "ni"))
		nameinfo(w);
	else if (!strcmp(w[0], "h"))
		look_host(w, 0);
	else if (!strcmp(w[0], "h2"))
		look_host(w, atoi(w[2]));
	else if (!strcmp(w[0], "hr"))
		host_r(w);
	else if (!strcmp(w[0], "ha") || !strcmp(w[0], "har"))
		host_addr(w, w[0][2]);
	else if (strstr(" q s qd send nq ns nosearch nowhere ", w[0]))
		message(w, n);
	else if (!strcmp(w[0], "threads"))
		threads(atoi(w[1]));
	else if (!strcmp(w[0], "async"))
		async();
	else if (!strcmp(w[0], "slow"))
		beside_slow();
	else if (!strcmp(w[0], "long"))
		long_name(atoi(w[1]));
	else
		state(w);
}

/* fork: the rest of the input is the child's */
static int forked(void)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		return 0;
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

int main(void)
{
	char line[4096];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		char *w[WORDS], *save = NULL;
		int n = 0;

		line[strcspn(line, "\n")] = 0;
		printf("%s ->", line);
		for (char *word = strtok_r(line, " ", &save); word && n < WORDS; word = strtok_r(NULL, " ", &save))
			w[n++] = word;
		if (!n)
			continue;
		if (!strcmp(w[0], "fork"))
			forked();
		else
			command(w, n);
		putchar('\n');
	}
	return 0;
}
