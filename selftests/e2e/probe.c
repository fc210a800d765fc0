/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Measures what a user of the tunnel sees: UDP probes with sequence numbers
 * against an echo server, and one TCP connection whose content is checked byte
 * by byte. It knows nothing of Holdfast. Lines on stdout, each written whole:
 *
 *   first ms=12                       the first answer, after so long
 *   gap at=5120 ms=210 lost=21        UDP: probes in a row without an answer; over at the next one
 *   at ms=1000 bytes=65536            bytes moved and confirmed so far (UDP: probes answered), every 100 ms at most
 *   stall at=5120 ms=400              TCP: no byte moved for so long; over
 *   sum sent=.. received=.. ...       the end (SIGINT, SIGTERM, or the limits given)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MARKER "HOLDFAST-PLAINTEXT-MARKER" /* must never be seen on the underlay */
#define PROBES_MAX (1u << 20)
#define CHUNK 4096
#define STALL_MS 200

enum tcp_mode { TCP_UP = 1, TCP_DOWN = 2, TCP_IDLE = 3 };

struct probe_packet {
	char marker[sizeof(MARKER)];
	uint8_t zero[6];
	uint64_t sequence;
};

/* The first bytes of a TCP connection: what the client wants. Both ends are this program on one machine. */
struct tcp_request {
	uint32_t mode;
	uint32_t bytes_per_s; /* TCP_DOWN: the server's pace */
};

struct options {
	unsigned int interval_ms;
	unsigned int seconds; /* 0: until a signal */
	uint64_t count;	      /* 0: no limit */
	unsigned int wait_ms; /* for answers after the last probe */
	unsigned int bytes_per_s;
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	stopped = 1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ms(void)
{
	return now_ns() / 1000000u;
}

static int die(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Any byte of the stream follows from its place; the marker is in it, for the capture to look for. */
static uint8_t stream_byte(uint64_t at)
{
	uint64_t block = at / 64, in = at % 64;

	if (in < sizeof(MARKER) - 1)
		return (uint8_t)MARKER[in];
	return (uint8_t)((block * 2654435761u) >> (8 * (in % 4)));
}

static void stream_fill(uint8_t *to, size_t len, uint64_t at)
{
	for (size_t i = 0; i < len; i++)
		to[i] = stream_byte(at + i);
}

static bool stream_matches(const uint8_t *from, size_t len, uint64_t at)
{
	for (size_t i = 0; i < len; i++)
		if (from[i] != stream_byte(at + i))
			return false;
	return true;
}

static int write_whole(int fd, const void *from, size_t len)
{
	const char *at = from;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR && !stopped)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int read_whole(int fd, void *to, size_t len)
{
	char *at = to;

	while (len > 0) {
		ssize_t n = recv(fd, at, len, 0);

		if (n < 0 && errno == EINTR && !stopped)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The server: one process per connection; UDP is echoed by the parent. ----------------------------------------- */

/* Confirms after each read how much has arrived and been right. */
static void serve_up(int fd)
{
	uint8_t data[65536];
	uint64_t at = 0;

	for (;;) {
		ssize_t n = recv(fd, data, sizeof(data), 0);

		if (n <= 0 || !stream_matches(data, (size_t)n, at))
			return;
		at += (uint64_t)n;
		if (write_whole(fd, &at, sizeof(at)))
			return;
	}
}

/* A write is what lasts for 20 ms: as even as a CHUNK of it can be, and whole segments where the rate is high. */
static void serve_down(int fd, unsigned int bytes_per_s)
{
	static uint8_t data[16 * CHUNK];
	uint64_t at = 0, start = now_ms();
	size_t len = bytes_per_s / 50;

	len = len < CHUNK ? CHUNK : len > sizeof(data) ? sizeof(data) : len;

	for (;;) {
		uint64_t due = start + at * 1000 / (bytes_per_s ? bytes_per_s : 1), now = now_ms();

		/* After a stall it goes on at its pace, it does not make up for lost time. */
		if (now > due + 1000)
			start += now - due;
		if (due > now)
			poll(NULL, 0, (int)(due - now));
		stream_fill(data, len, at);
		if (write_whole(fd, data, len))
			return;
		at += len;
	}
}

static void serve_idle(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) == 1 && write_whole(fd, &byte, 1) == 0)
		;
}

static void serve_connection(int fd)
{
	struct tcp_request request;

	if (read_whole(fd, &request, sizeof(request)))
		return;
	if (request.mode == TCP_UP)
		serve_up(fd);
	else if (request.mode == TCP_DOWN)
		serve_down(fd, request.bytes_per_s);
	else if (request.mode == TCP_IDLE)
		serve_idle(fd);
}

/* What was held while a session was made comes at once: hundreds of packets, which a busy machine reads later. None is lost here. */
static int take_bursts(int udp)
{
	int bytes = 4 << 20;

	return udp < 0 ? -1 : setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
}

static int bind_any(int type, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)))
		return -1;
	return fd;
}

static void echo(int udp)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char data[2048];
	ssize_t n = recvfrom(udp, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

	if (n > 0)
		sendto(udp, data, (size_t)n, 0, (struct sockaddr *)&from, len);
}

/* probe serve PORT */
static int run_serve(char **args, const struct options *o)
{
	uint16_t port = (uint16_t)atoi(args[0]);
	int udp = bind_any(SOCK_DGRAM, port), tcp = bind_any(SOCK_STREAM, port);
	struct pollfd on[] = { { .fd = udp, .events = POLLIN }, { .fd = tcp, .events = POLLIN } };

	if (take_bursts(udp) || tcp < 0 || listen(tcp, 16))
		return die("serve");
	signal(SIGCHLD, SIG_IGN);
	printf("serving %d\n", port);
	while (!stopped) {
		if (poll(on, 2, -1) < 0)
			continue;
		if (on[0].revents)
			echo(udp);
		if (on[1].revents) {
			int fd = accept(tcp, NULL, NULL);

			if (fd >= 0 && fork() == 0) {
				serve_connection(fd);
				_exit(0);
			}
			close(fd);
		}
	}
	return 0;
}

/* probe mute PORT: takes TCP connections and never says a word. */
static int run_mute(char **args, const struct options *o)
{
	int tcp = bind_any(SOCK_STREAM, (uint16_t)atoi(args[0]));
	unsigned int taken = 0;

	if (tcp < 0 || listen(tcp, 16))
		return die("mute");
	printf("serving %s\n", args[0]);
	while (!stopped)
		if (accept(tcp, NULL, NULL) >= 0)
			printf("taken %u\n", ++taken);
	return 0;
}

/* The UDP client. ---------------------------------------------------------------------------------------------- */

struct udp_run {
	uint64_t start_ns, stopped_ns, *sent_ns; /* stopped: no more are sent, answers are waited for */
	uint8_t *answers;
	uint64_t sent, received, duplicates, newest; /* newest: sequence of the last answered + 1 */
	uint64_t last_rx_ns, silence_ns, slowest_ns, told_ns, lost, longest_ms;
};

static void udp_take(struct udp_run *run, int fd)
{
	struct probe_packet packet;
	uint64_t now;

	if (recv(fd, &packet, sizeof(packet), MSG_DONTWAIT) != sizeof(packet) || packet.sequence >= run->sent)
		return;
	now = now_ns();
	if (run->answers[packet.sequence]++) {
		run->duplicates++;
		return;
	}
	if (run->received++ == 0)
		printf("first ms=%ju\n", (uintmax_t)((now - run->start_ns) / 1000000u));
	else if (now - run->last_rx_ns > run->silence_ns)
		run->silence_ns = now - run->last_rx_ns;
	run->last_rx_ns = now;
	if (now - run->sent_ns[packet.sequence] > run->slowest_ns)
		run->slowest_ns = now - run->sent_ns[packet.sequence];
	if (packet.sequence > run->newest)
		printf("gap at=%ju ms=%ju lost=%ju\n",
		       (uintmax_t)((run->sent_ns[run->newest] - run->start_ns) / 1000000u),
		       (uintmax_t)((run->sent_ns[packet.sequence] - run->sent_ns[run->newest]) / 1000000u),
		       (uintmax_t)(packet.sequence - run->newest));
	if (packet.sequence >= run->newest)
		run->newest = packet.sequence + 1;
	if (now - run->told_ns >= 100000000u) {
		run->told_ns = now;
		printf("at ms=%ju bytes=%ju\n", (uintmax_t)((now - run->start_ns) / 1000000u), (uintmax_t)run->received);
	}
}

/* What stayed without an answer to the end; late ones have filled their gaps by now. */
static void udp_count(struct udp_run *run)
{
	for (uint64_t i = 0, from = 0; i <= run->sent; i++) {
		uint64_t ms;

		if (i < run->sent && !run->answers[i]) {
			run->lost++;
			continue;
		}
		if (i > from) {
			ms = ((i < run->sent ? run->sent_ns[i] : run->stopped_ns) - run->sent_ns[from]) / 1000000u;
			if (ms > run->longest_ms)
				run->longest_ms = ms;
		}
		from = i + 1;
	}
}

static int udp_connect(const char *address, const char *port, int type)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int fd = socket(AF_INET, type, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return -1;
	while (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		if (errno != EINTR || stopped)
			return -1;
	return fd;
}

/* probe udp ADDRESS PORT */
static int run_udp(char **args, const struct options *o)
{
	struct udp_run run = { .sent_ns = calloc(PROBES_MAX, sizeof(uint64_t)), .answers = calloc(PROBES_MAX, 1) };
	int fd = udp_connect(args[0], args[1], SOCK_DGRAM);
	struct pollfd on = { .fd = fd, .events = POLLIN };
	struct probe_packet packet = { .marker = MARKER };
	uint64_t interval = (uint64_t)o->interval_ms * 1000000u, next, now, end;

	if (take_bursts(fd) || !run.sent_ns || !run.answers)
		return die("udp");
	run.start_ns = next = now_ns();
	while (!stopped && run.sent < (o->count ? o->count : PROBES_MAX) &&
	       (!o->seconds || now_ns() < run.start_ns + o->seconds * 1000000000ull)) {
		if (now_ns() >= next) {
			packet.sequence = run.sent;
			run.sent_ns[run.sent++] = now_ns();
			/* An error here (no route, a full queue) is a lost probe. */
			if (send(fd, &packet, sizeof(packet), MSG_DONTWAIT) < 0 && run.sent == 1)
				fprintf(stderr, "probe: send: %s\n", strerror(errno));
			next += interval;
			if (next < now_ns())
				next = now_ns();
		}
		now = now_ns();
		if (poll(&on, 1, now < next ? (int)((next - now) / 1000000u) : 0) > 0)
			udp_take(&run, fd);
	}
	run.stopped_ns = now_ns();
	end = run.stopped_ns + o->wait_ms * 1000000ull;
	while (now_ns() < end && run.received < run.sent)
		if (poll(&on, 1, 20) > 0)
			udp_take(&run, fd);
	udp_count(&run);
	printf("sum sent=%ju received=%ju lost=%ju longest_ms=%ju silence_ms=%ju slowest_ms=%ju duplicates=%ju\n",
	       (uintmax_t)run.sent, (uintmax_t)run.received, (uintmax_t)run.lost, (uintmax_t)run.longest_ms,
	       (uintmax_t)(run.silence_ns / 1000000u), (uintmax_t)(run.slowest_ns / 1000000u),
	       (uintmax_t)run.duplicates);
	close(fd);
	free(run.sent_ns);
	free(run.answers);
	return run.received ? 0 : 1;
}

/* The TCP client. ---------------------------------------------------------------------------------------------- */

struct tcp_run {
	int fd;
	uint64_t start, last, told, longest, sent, moved;
	const char *broken; /* why the connection can't be the same any more */
};

static void tcp_moved(struct tcp_run *run, uint64_t total)
{
	uint64_t now = now_ms();

	if (run->moved == 0)
		printf("first ms=%ju\n", (uintmax_t)(now - run->start));
	else if (now - run->last >= STALL_MS)
		printf("stall at=%ju ms=%ju\n", (uintmax_t)(run->last - run->start), (uintmax_t)(now - run->last));
	if (run->moved && now - run->last > run->longest)
		run->longest = now - run->last;
	run->moved = total;
	run->last = now;
	if (now - run->told >= 100 || run->told == 0) {
		run->told = now;
		printf("at ms=%ju bytes=%ju\n", (uintmax_t)(now - run->start), (uintmax_t)total);
	}
}

static void tcp_step_up(struct tcp_run *run, const struct options *o, bool readable)
{
	uint8_t data[CHUNK];
	uint64_t confirmed;

	/* Confirmations may lag, so never let a window of more than a chunk's worth of time fill up at once. */
	if (run->sent < (now_ms() - run->start) * o->bytes_per_s / 1000 && run->sent < run->moved + 65536) {
		ssize_t n;

		stream_fill(data, sizeof(data), run->sent);
		n = send(run->fd, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			run->sent += (uint64_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			run->broken = strerror(errno);
	}
	if (!readable)
		return;
	if (read_whole(run->fd, &confirmed, sizeof(confirmed)))
		run->broken = "closed by the server: the content was wrong, or the connection broke";
	else
		tcp_moved(run, confirmed);
}

static void tcp_step_down(struct tcp_run *run, const struct options *o, bool readable)
{
	uint8_t data[65536];
	ssize_t n;

	if (!readable)
		return;
	n = recv(run->fd, data, sizeof(data), 0);
	if (n <= 0)
		run->broken = n ? strerror(errno) : "closed by the server";
	else if (!stream_matches(data, (size_t)n, run->moved))
		run->broken = "the content is wrong";
	else
		tcp_moved(run, run->moved + (uint64_t)n);
}

/* One byte, and silence for the interval after its echo. */
static void tcp_step_idle(struct tcp_run *run, const struct options *o, bool readable)
{
	char byte = 'i';

	if (run->sent == run->moved && (run->moved == 0 || now_ms() >= run->last + o->interval_ms)) {
		if (send(run->fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
			run->broken = strerror(errno);
		run->sent++;
		run->last = now_ms();
	}
	if (!readable)
		return;
	if (recv(run->fd, &byte, 1, 0) != 1)
		run->broken = "closed by the server";
	else
		tcp_moved(run, run->moved + 1);
}

static const struct tcp_kind {
	const char *name;
	enum tcp_mode mode;
	void (*step)(struct tcp_run *run, const struct options *o, bool readable);
} tcp_kinds[] = {
	{ "up", TCP_UP, tcp_step_up },
	{ "down", TCP_DOWN, tcp_step_down },
	{ "idle", TCP_IDLE, tcp_step_idle },
};

/* probe tcp ADDRESS PORT up|down|idle: one connection, never a second one. */
static int run_tcp(char **args, const struct options *o)
{
	struct tcp_run run = { .fd = -1 };
	const struct tcp_kind *kind = NULL;
	struct tcp_request request = { .bytes_per_s = o->bytes_per_s };
	struct pollfd on = { .events = POLLIN };
	int one = 1;

	for (size_t i = 0; i < sizeof(tcp_kinds) / sizeof(*tcp_kinds); i++)
		if (!strcmp(args[2], tcp_kinds[i].name))
			kind = &tcp_kinds[i];
	if (!kind) {
		fprintf(stderr, "probe: tcp %s?\n", args[2]);
		return 2;
	}
	run.start = run.last = now_ms();
	run.fd = on.fd = udp_connect(args[0], args[1], SOCK_STREAM);
	request.mode = kind->mode;
	if (run.fd < 0 || setsockopt(run.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    write_whole(run.fd, &request, sizeof(request)))
		return die("tcp");
	while (!stopped && !run.broken && (!o->seconds || now_ms() < run.start + o->seconds * 1000ull) &&
	       (!o->count || run.moved < o->count)) {
		on.revents = 0;
		kind->step(&run, o, poll(&on, 1, 5) > 0);
	}
	if (now_ms() - run.last > run.longest && kind->mode != TCP_IDLE)
		run.longest = now_ms() - run.last;
	printf("sum mode=%s bytes=%ju longest_stall_ms=%ju connection=%s\n", kind->name, (uintmax_t)run.moved,
	       (uintmax_t)run.longest, run.broken ? "broken" : "same");
	if (run.broken)
		fprintf(stderr, "probe: %s\n", run.broken);
	return run.broken || !run.moved;
}

static const struct command {
	const char *name;
	int args;
	int (*run)(char **args, const struct options *o);
} commands[] = {
	{ "serve", 1, run_serve },
	{ "mute", 1, run_mute },
	{ "udp", 2, run_udp },
	{ "tcp", 3, run_tcp },
};

static int usage(void)
{
	fputs("usage: probe serve|mute PORT\n"
	      "       probe udp ADDRESS PORT [-i INTERVAL_MS] [-s SECONDS] [-c COUNT] [-w WAIT_MS]\n"
	      "       probe tcp ADDRESS PORT up|down|idle [-i IDLE_MS] [-s SECONDS] [-c BYTES] [-r BYTES_PER_S]\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct options o = { .interval_ms = 10, .wait_ms = 1000, .bytes_per_s = 100000 };
	struct sigaction act = { .sa_handler = stop };
	const struct command *command = NULL;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	if (!strcmp(argv[0], "holdfast-kms")) /* in its place: a key service that says nothing */
		return pause() && stopped ? EXIT_SUCCESS : EXIT_FAILURE;
	while ((c = getopt(argc, argv, "i:s:c:w:r:")) != -1) {
		long value = optarg ? atol(optarg) : -1;

		if (value < 0)
			return usage();
		if (c == 'i')
			o.interval_ms = (unsigned int)value;
		else if (c == 's')
			o.seconds = (unsigned int)value;
		else if (c == 'c')
			o.count = (uint64_t)value;
		else if (c == 'w')
			o.wait_ms = (unsigned int)value;
		else if (c == 'r')
			o.bytes_per_s = (unsigned int)value;
	}
	argc -= optind;
	argv += optind;
	for (size_t i = 0; argc > 0 && i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(argv[0], commands[i].name) && argc - 1 == commands[i].args)
			command = &commands[i];
	return command ? command->run(argv + 1, &o) : usage();
}
