// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "selftests/prog/fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Packets. */

static __u16 checksum(const __u8 *bytes, size_t len)
{
	__u32 sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (__u32)(bytes[i] << 8 | bytes[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((__u16)~sum);
}

static void put(struct packet *packet, const void *bytes, size_t len)
{
	assert_true(packet->len + len <= sizeof(packet->data));
	if (len)
		memcpy(packet->data + packet->len, bytes, len);
	packet->len += len;
}

static void put_be16(struct packet *packet, __u16 value)
{
	value = htons(value);
	put(packet, &value, sizeof(value));
}

static void put_link(struct packet *packet, const struct packet_spec *spec)
{
	static const __u8 mac[2][ETH_ALEN] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
	static const __u8 group[ETH_ALEN] = {1, 0, 0x5e, 0, 0, 1};

	put(packet, spec->mac_group ? group : mac[spec->mac_turned], ETH_ALEN);
	put(packet, mac[!spec->mac_turned], ETH_ALEN);
	for (unsigned int left = spec->vlans; left; left--) {
		put_be16(packet, left > 1 ? ETH_P_8021AD : ETH_P_8021Q);
		put_be16(packet, (__u16)(100 + left));
	}
	put_be16(packet, spec->ethertype ? spec->ethertype : ETH_P_IP);
}

void packet_fix_ip_checksum(struct packet *packet)
{
	struct iphdr ip;
	__u16 sum;

	memcpy(&ip, packet->data + packet->ip, sizeof(ip));
	memset(packet->data + packet->ip + offsetof(struct iphdr, check), 0, 2);
	sum = checksum(packet->data + packet->ip, ip.ihl * 4u);
	memcpy(packet->data + packet->ip + offsetof(struct iphdr, check), &sum, sizeof(sum));
}

static void put_ip(struct packet *packet, const struct packet_spec *spec)
{
	static const __u8 options[40] = {1, 1, 1, 1}; /* no-operation, then end of the list */
	struct iphdr ip = {
		.version = 4,
		.ihl = (__u8)(5 + spec->options) & 15,
		.id = htons(0x1234),
		.frag_off = htons(spec->frag),
		.ttl = spec->ttl || spec->ttl_zero ? spec->ttl : 64,
		.protocol = spec->protocol,
	};
	size_t transport = spec->dport ? sizeof(struct udphdr) : 0;

	packet->ip = packet->len;
	ip.tot_len = htons((__u16)(sizeof(ip) + spec->options * 4 + transport + spec->payload_len));
	ip.saddr = inet_addr(spec->src);
	ip.daddr = inet_addr(spec->dst);
	put(packet, &ip, sizeof(ip));
	put(packet, options, spec->options * 4);
	packet_fix_ip_checksum(packet);
}

void packet_build(const struct packet_spec *spec, struct packet *ret_packet)
{
	struct packet packet = {.len = 0};

	put_link(&packet, spec);
	put_ip(&packet, spec);
	if (spec->dport) {
		put_be16(&packet, spec->sport);
		put_be16(&packet, spec->dport);
		put_be16(&packet, (__u16)(sizeof(struct udphdr) + spec->payload_len));
		put_be16(&packet, 0xbeef); /* a checksum that nobody here may look at, nor change */
	}
	packet.payload = packet.len;
	put(&packet, spec->payload, spec->payload_len);
	for (size_t i = 0; i < spec->tail; i++) {
		__u8 byte = (__u8)(0xa0 + i);

		put(&packet, &byte, 1);
	}
	*ret_packet = packet;
}

struct hf_addr fixture_addr(const char *text)
{
	struct hf_addr addr;

	assert_int_equal(addr_parse(text, strlen(text), &addr), 0);
	return addr;
}

struct hf_prefix fixture_prefix(const char *text, unsigned int len_v4)
{
	return (struct hf_prefix){.addr = fixture_addr(text), .len = (__u8)(96 + len_v4)};
}

/* The namespace: lo up with the address US, forwarding, and a route to ELSEWHERE. */

static int lo_configure(int fd)
{
	struct ifreq request = {.ifr_name = "lo"};
	struct sockaddr_in *addr = (struct sockaddr_in *)&request.ifr_addr;

	addr->sin_family = AF_INET;
	addr->sin_addr.s_addr = inet_addr(US);
	if (ioctl(fd, SIOCSIFADDR, &request))
		return -errno;
	addr->sin_addr.s_addr = inet_addr("255.255.255.255");
	if (ioctl(fd, SIOCSIFNETMASK, &request))
		return -errno;
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &request) ? -errno : 0;
}

static int route_add(int fd)
{
	struct rtentry route = {.rt_flags = RTF_UP | RTF_HOST};
	struct sockaddr_in *dst = (struct sockaddr_in *)&route.rt_dst;
	char device[] = "lo";

	dst->sin_family = AF_INET;
	dst->sin_addr.s_addr = inet_addr(ELSEWHERE);
	route.rt_dev = device;
	return ioctl(fd, SIOCADDRT, &route) ? -errno : 0;
}

static int forwarding_enable(void)
{
	int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);
	int result = fd < 0 || write(fd, "1", 1) != 1 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return result;
}

static int namespace_enter(void)
{
	int fd, result;

	if (unshare(CLONE_NEWNET))
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	result = lo_configure(fd);
	if (!result)
		result = route_add(fd);
	close(fd);
	return result ? result : forwarding_enable();
}

/* The datapath. */

static void event_keep(void *context, const struct hf_event *event, const __u8 *packet)
{
	struct fixture *f = context;

	assert_true(f->n_events < FIXTURE_EVENTS_MAX);
	if (packet)
		memcpy(f->held[f->n_events], packet, event->packet_len);
	f->events[f->n_events++] = *event;
}

static struct fixture fixture;

void fixture_listen(struct fixture *f)
{
	datapath_on_event(f->dp, event_keep, f);
}

int fixture_open(void **state)
{
	struct datapath_config config = {
		.key_service_port = FIXTURE_KMS_PORT,
		.reflect_per_second = FIXTURE_PER_SECOND,
		.reflect_burst = FIXTURE_BURST,
	};
	struct datapath_report report;
	struct datapath_kernel kernel;
	int result;

	memset(&fixture, 0, sizeof(fixture));
	if (geteuid()) {
		fixture.unable = "needs root";
		return 0;
	}
	result = namespace_enter();
	if (result) {
		print_error("cannot set up a network namespace: %s\n", strerror(-result));
		return result;
	}
	fixture.has_xfrm = !datapath_probe_kernel(&kernel, NULL);
	config.without_xfrm = !fixture.has_xfrm;
	result = datapath_open(&config, &report, &fixture.dp);
	if (result)
		print_error("%s\n%s\n", report.text, report.detail);
	else
		fixture_listen(&fixture);
	return result;
}

int fixture_close(void **state)
{
	datapath_free(fixture.dp);
	return 0;
}

int fixture_main(const char *group, const struct fixture_table *table, const struct CMUnitTest *others,
		 size_t n_others)
{
	static struct CMUnitTest tests[FIXTURE_TESTS_MAX];
	size_t n = 0;

	if (table->n + n_others > FIXTURE_TESTS_MAX)
		return 1;
	for (; n < table->n; n++) {
		char *row = (char *)table->rows + n * table->row_size;

		memcpy(&tests[n].name, row, sizeof(tests[n].name));
		tests[n].test_func = table->test;
		tests[n].initial_state = row;
	}
	for (size_t i = 0; i < n_others; i++)
		tests[n++] = others[i];
	return _cmocka_run_group_tests(group, tests, n, fixture_open, fixture_close);
}

/* Deletes every entry of a hash or trie. Keys are at most as long as hf_tunnels'. */
static void map_empty(const char *name)
{
	__u8 key[sizeof(struct hf_tunnel_key)];
	int fd = datapath_map_fd(fixture.dp, name);

	assert_true(fd >= 0);
	while (!bpf_map_get_next_key(fd, NULL, key))
		assert_int_equal(bpf_map_delete_elem(fd, key), 0);
}

static void drops_clear(void)
{
	static __u64 zeros[256][HF_DROP_MAX]; /* per possible CPU */
	__u32 zero = 0;

	assert_int_equal(bpf_map_update_elem(datapath_map_fd(fixture.dp, "hf_drops"), &zero, zeros, BPF_ANY), 0);
}

struct fixture *fixture_begin(void)
{
	static const char *const hashes[] = {"hf_tunnels", "hf_members", "hf_peers", "hf_live",
					     "hf_outer",   "hf_beats",	 "hf_claims", "hf_protected"};

	if (fixture.unable) {
		print_message("skipped: %s\n", fixture.unable);
		skip();
	}
	for (size_t i = 0; i < sizeof(hashes) / sizeof(*hashes); i++)
		map_empty(hashes[i]);
	for (__u32 slot = 0; slot < FIXTURE_SLOTS; slot++)
		assert_int_equal(datapath_steer(fixture.dp, slot, 0), 0);
	assert_int_equal(datapath_set_gate(fixture.dp, 0), 0);
	fixture_take_events(&fixture);
	fixture.n_events = 0;
	drops_clear();
	return &fixture;
}

struct fixture *fixture_begin_xfrm(void)
{
	if (!fixture.unable && !fixture.has_xfrm) {
		print_message("skipped: this kernel has no bpf_skb_set_xfrm_info()\n");
		skip();
	}
	return fixture_begin();
}

static void run(int program, const struct packet *packet, struct bpf_test_run_opts *opts,
		struct run_result *ret)
{
	int result;

	assert_true(program >= 0);
	opts->data_in = packet->data;
	opts->data_size_in = (__u32)packet->len;
	opts->data_out = ret->data;
	opts->data_size_out = sizeof(ret->data);
	result = bpf_prog_test_run_opts(program, opts);
	if (result)
		fail_msg("the kernel refused to run the program on %zu bytes: %s", packet->len, strerror(-result));
	ret->verdict = (int)opts->retval;
	ret->len = opts->data_size_out;
}

void fixture_run_xdp(int program, const struct packet *packet, struct run_result *ret)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	memset(ret, 0, sizeof(*ret));
	run(program, packet, &opts, ret);
}

void fixture_run_tc(int program, const struct packet *packet, const struct run_options *options,
		    struct run_result *ret)
{
	struct __sk_buff in = {0}, out = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &in, .ctx_size_in = sizeof(in), .ctx_out = &out,
		    .ctx_size_out = sizeof(out));

	memset(ret, 0, sizeof(*ret));
	if (options) {
		in.mark = options->mark;
		in.ingress_ifindex = options->ingress;
		in.cb[0] = options->as_peer;
		in.gso_size = options->gso_size;
		in.gso_segs = options->gso_size ? 2 : 0;
	}
	run(program, packet, &opts, ret);
	ret->mark = out.mark;
}

void fixture_assert_drops(struct fixture *f, int reason)
{
	__u64 drops[HF_DROP_MAX];

	assert_int_equal(datapath_read_drops(f->dp, drops), 0);
	for (int i = 0; i < HF_DROP_MAX; i++)
		if (drops[i] != (i == reason))
			fail_msg("%s was counted %llu times, not %d", datapath_drop_name((enum hf_drop)i),
				 (unsigned long long)drops[i], i == reason);
	drops_clear();
}

void fixture_take_events(struct fixture *f)
{
	f->n_events = 0;
	assert_true(datapath_consume_events(f->dp) >= 0);
}
