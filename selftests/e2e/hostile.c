/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an attacker on the path or beside it would send: raw packets, one mode
 * each. Prints what came back; judges nothing. Root only, in a test's namespace.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/types.h>

#include "bpf/contract.h"

struct options {
	struct in_addr source, target;
	const char *interface;
	unsigned int count, interval_ms, port;
};

struct beat_packet {
	struct iphdr ip;
	struct hf_beat_wire beat;
} __attribute__((packed));

struct esp_packet {
	struct iphdr ip;
	__be32 spi, sequence;
	uint8_t rest[2000];
} __attribute__((packed));

struct inner_packet {
	struct iphdr ip;
	struct udphdr udp;
	char text[32];
} __attribute__((packed));

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	stopped = 1;
}

static int die(const char *what)
{
	fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
	return 1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static struct iphdr ip_header(const struct options *o, size_t len, uint8_t protocol)
{
	/* The kernel fills in the checksum and, where it is 0, the id (raw(7)). */
	return (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = protocol, .tot_len = htons((uint16_t)len),
			       .saddr = o->source.s_addr, .daddr = o->target.s_addr };
}

/* A raw socket that sends whole IP packets, from any source; it marks them so that they go by the underlay's routes. */
static int open_raw(uint32_t mark)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);

	if (fd >= 0 && mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int send_raw(int fd, const struct options *o, const void *packet, size_t len)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = o->target };

	return sendto(fd, packet, len, 0, (struct sockaddr *)&to, sizeof(to)) == (ssize_t)len ? 0 : -1;
}

/* ESP packets with the heartbeat's SPI from the target that arrive within ms. */
static unsigned int count_answers(int fd, const struct options *o, unsigned int ms)
{
	struct pollfd on = { .fd = fd, .events = POLLIN };
	uint64_t end = now_ms() + ms;
	unsigned int n = 0;
	struct beat_packet got;

	for (uint64_t now; !stopped && (now = now_ms()) < end;) {
		if (poll(&on, 1, (int)(end - now)) <= 0)
			continue;
		if (recv(fd, &got, sizeof(got), 0) >= (ssize_t)(sizeof(got.ip) + sizeof(got.beat.spi)) &&
		    got.beat.spi == htonl(HF_BEAT_SPI) && got.ip.saddr == o->target.s_addr)
			n++;
	}
	return n;
}

/* Heartbeats with random nonces from source to target; what comes back is counted where this host is the source. */
static int run_beat(const struct options *o)
{
	int fd = open_raw(HF_MARK), in = socket(AF_INET, SOCK_RAW, IPPROTO_ESP);
	struct beat_packet packet = { .ip = ip_header(o, sizeof(packet), IPPROTO_ESP), .beat.spi = htonl(HF_BEAT_SPI) };
	unsigned int answers = 0, sent = 0;

	if (fd < 0 || in < 0)
		return die("raw socket");
	for (unsigned int i = 0; !stopped && (!o->count || i < o->count); i++) {
		packet.beat.sequence = htonl(i + 1);
		if (getrandom(&packet.beat.nonce, sizeof(packet.beat.nonce), 0) != sizeof(packet.beat.nonce))
			return die("getrandom");
		sent += send_raw(fd, o, &packet, sizeof(packet)) == 0;
		answers += count_answers(in, o, o->interval_ms);
	}
	answers += count_answers(in, o, stopped ? 0 : 500);
	printf("sum sent=%u answers=%u\n", sent, answers);
	return sent ? 0 : 1;
}

/* Inner packets whose source the peer may not use, by the routes that any program's packets take. */
static int run_inner(const struct options *o)
{
	int fd = open_raw(0);
	struct inner_packet packet = { .ip = ip_header(o, sizeof(packet), IPPROTO_UDP), .text = "not mine" };
	unsigned int sent = 0;

	if (fd < 0)
		return die("raw socket");
	packet.udp = (struct udphdr){ .source = htons(9), .dest = htons((uint16_t)o->port),
				      .len = htons(sizeof(packet.udp) + sizeof(packet.text)) };
	for (unsigned int i = 0; i < o->count; i++) {
		if (send_raw(fd, o, &packet, sizeof(packet)) == 0)
			sent++;
		else
			fprintf(stderr, "hostile: send: %s\n", strerror(errno));
		poll(NULL, 0, (int)o->interval_ms);
	}
	printf("sum sent=%u\n", sent);
	return sent ? 0 : 1;
}

static bool is_beat(const struct beat_packet *p, ssize_t len)
{
	return len >= (ssize_t)(sizeof(p->ip) + sizeof(p->beat.spi)) && p->ip.version == 4 && p->ip.ihl == 5 &&
	       p->ip.protocol == IPPROTO_ESP && p->beat.spi == htonl(HF_BEAT_SPI);
}

/* Whether the nonce was here among the last ones; it is from now on. */
static bool is_known(uint64_t known[256], uint64_t nonce)
{
	static unsigned int next;

	for (unsigned int i = 0; i < 256; i++)
		if (known[i] == nonce)
			return true;
	known[next++ % 256] = nonce;
	return false;
}

/* All that the interface carries, without its link's header. */
static int open_path(const struct options *o)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(o->interface ? o->interface : "") };
	int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));

	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * On the path: each answer of the target's that the interface carries is thrown
 * back at it as it is, as if source had sent it. Once for each nonce, so that
 * whatever goes on after that is the reflectors' own doing. Until a signal.
 */
static int run_throw(const struct options *o)
{
	int in = open_path(o), fd = open_raw(HF_MARK);
	unsigned int seen = 0, thrown = 0;
	struct beat_packet packet;
	uint64_t known[256] = { 0 };

	if (in < 0 || fd < 0)
		return die("throw");
	printf("listening\n");
	while (!stopped) {
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(in, &packet, sizeof(packet), 0, (struct sockaddr *)&from, &len);

		if (!is_beat(&packet, n))
			continue;
		seen++;
		if (packet.ip.saddr != o->target.s_addr || is_known(known, packet.beat.nonce))
			continue;
		packet.ip.saddr = o->source.s_addr;
		packet.ip.daddr = o->target.s_addr;
		packet.ip.ttl = 64;
		thrown += send_raw(fd, o, &packet, (size_t)n) == 0;
	}
	printf("sum seen=%u thrown=%u\n", seen, thrown);
	return 0;
}

static bool is_payload(const struct options *o, const struct esp_packet *p, ssize_t len)
{
	return len > (ssize_t)(sizeof(*p) - sizeof(p->rest)) && p->ip.version == 4 && p->ip.ihl == 5 &&
	       p->ip.protocol == IPPROTO_ESP && p->spi != htonl(HF_BEAT_SPI) && p->ip.saddr == o->source.s_addr &&
	       p->ip.daddr == o->target.s_addr;
}

/* As if it were a packet that is still to come, so that its number alone is nothing to refuse it for; and with one bit of it changed. */
static void alter(struct esp_packet *packet, size_t len)
{
	packet->sequence = htonl(ntohl(packet->sequence) + 1000);
	packet->rest[(len - (sizeof(*packet) - sizeof(packet->rest))) / 2] ^= 1;
}

/* On the path: the payload of source's for target is sent again: as it is, or altered. The first packets of it, over and over. */
static int run_again(const struct options *o, bool altered)
{
	static struct { struct esp_packet packet; ssize_t len; } kept[32];
	const unsigned int n = sizeof(kept) / sizeof(*kept);
	int in = open_path(o), fd = open_raw(HF_MARK);
	unsigned int sent = 0;

	if (in < 0 || fd < 0)
		return die("path");
	for (unsigned int i = 0; i < n && !stopped;) {
		kept[i].len = recv(in, &kept[i].packet, sizeof(kept[i].packet), 0);
		if (!is_payload(o, &kept[i].packet, kept[i].len))
			continue;
		if (altered)
			alter(&kept[i].packet, (size_t)kept[i].len);
		i++;
	}
	printf("sending\n");
	for (; !stopped && (!o->count || sent < o->count); poll(NULL, 0, (int)o->interval_ms))
		sent += send_raw(fd, o, &kept[sent % n].packet, (size_t)kept[sent % n].len) == 0;
	printf("sum sent=%u\n", sent);
	return sent ? 0 : 1;
}

static int run_replay(const struct options *o)
{
	return run_again(o, false);
}

static int run_alter(const struct options *o)
{
	return run_again(o, true);
}

static const struct mode {
	const char *name;
	int (*run)(const struct options *o);
	const char *text;
} modes[] = {
	{ "beat", run_beat, "-s SOURCE -t TARGET [-n COUNT] [-i MS]: heartbeats, or forged answers (random nonces)" },
	{ "inner", run_inner, "-s SOURCE -t TARGET -p PORT [-n COUNT]: UDP packets from a source that is not ours" },
	{ "throw", run_throw, "-d INTERFACE -s SOURCE -t TARGET: the target's answers, thrown back at it as SOURCE's" },
	{ "replay", run_replay, "-d INTERFACE -s SOURCE -t TARGET [-n COUNT] [-i MS]: payload that has passed there, once more" },
	{ "alter", run_alter, "-d INTERFACE -s SOURCE -t TARGET [-n COUNT] [-i MS]: likewise, with other content" },
};

static int usage(void)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		fprintf(stderr, "hostile %s %s\n", modes[i].name, modes[i].text);
	return 2;
}

static bool take_option(struct options *o, int c)
{
	switch (c) {
	case 's':
		return inet_pton(AF_INET, optarg, &o->source) == 1;
	case 't':
		return inet_pton(AF_INET, optarg, &o->target) == 1;
	case 'd':
		o->interface = optarg;
		return true;
	case 'n':
		o->count = (unsigned int)atoi(optarg);
		return true;
	case 'i':
		o->interval_ms = (unsigned int)atoi(optarg);
		return true;
	case 'p':
		o->port = (unsigned int)atoi(optarg);
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	struct options o = { .interval_ms = 20 };
	struct sigaction act = { .sa_handler = stop };
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	while ((c = getopt(argc, argv, "s:t:d:n:i:p:")) != -1)
		if (!take_option(&o, c))
			return usage();
	for (size_t i = 0; optind < argc && i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(argv[optind], modes[i].name))
			return modes[i].run(&o);
	return usage();
}
