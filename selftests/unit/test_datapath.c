// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The parts of the datapath's facade that need no kernel: names of reasons, their documentation, checksums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/datapath.h"

/* Each reason has its row in bpf/README.md, in the order of the list, and there is no other. */
static void test_reasons_are_documented(void **state)
{
	FILE *readme = fopen("bpf/README.md", "re");
	char line[512], row[64];
	bool in_table = false;
	int n = 0;

	assert_non_null(readme);
	while (fgets(line, sizeof(line), readme)) {
		if (!strncmp(line, "## ", 3))
			in_table = !strcmp(line, "## Drop reasons\n");
		if (!in_table || strncmp(line, "| `", 3))
			continue;
		assert_true(n < HF_DROP_MAX);
		snprintf(row, sizeof(row), "| `%s` |", datapath_drop_name((enum hf_drop)n));
		if (strncmp(line, row, strlen(row)))
			fail_msg("bpf/README.md has the row \"%.40s\" where \"%s\" belongs", line, row);
		n++;
	}
	fclose(readme);
	assert_int_equal(n, HF_DROP_MAX);
}

static void test_reasons_have_names(void **state)
{
	for (int i = 0; i < HF_DROP_MAX; i++) {
		assert_non_null(datapath_drop_name((enum hf_drop)i));
		assert_true(strlen(datapath_drop_text((enum hf_drop)i)) > 10);
	}
	assert_null(datapath_drop_name(HF_DROP_MAX));
	assert_null(datapath_drop_text(HF_DROP_MAX));
	assert_string_equal(datapath_drop_name(HF_DROP_inner_source), "inner_source");
}

/* The receiver's rule (RFC 1071): the sum over everything, the checksum and the pseudo-header included, is all ones. */
static __u16 sum_all(const __u8 *packet, size_t header, size_t total, __u8 protocol)
{
	__u32 sum = protocol + (__u32)(total - header);

	for (size_t i = 12; i < 20; i += 2)
		sum += (__u32)(packet[i] << 8 | packet[i + 1]);
	for (size_t i = header; i < total; i++)
		sum += (i - header) & 1 ? packet[i] : (__u32)packet[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

static void packet_make(__u8 *packet, size_t header, size_t total, __u8 protocol)
{
	memset(packet, 0, total);
	packet[0] = (__u8)(0x40 | header / 4);
	packet[2] = (__u8)(total >> 8);
	packet[3] = (__u8)total;
	packet[9] = protocol;
	for (size_t i = 12; i < 20; i++)
		packet[i] = (__u8)(0x11 * i);
	for (size_t i = header; i < total; i++)
		packet[i] = (__u8)(i * 7 + 1); /* the checksum field is not right */
	if (protocol == 6)
		packet[header + 12] = 0x50;
}

static void test_checksums(void **state)
{
	__u8 packet[2048], before[2048];
	const size_t headers[] = {20, 24, 60};

	for (size_t h = 0; h < 3; h++)
		for (size_t len = 20; len < 200; len++) {
			size_t header = headers[h], total = header + len;

			for (int tcp = 0; tcp < 2; tcp++) {
				__u8 protocol = tcp ? 6 : 17;
				size_t field = header + (tcp ? 16 : 6);

				packet_make(packet, header, total, protocol);
				memcpy(before, packet, total);
				assert_int_equal(datapath_finish_packet(packet, total), 0);
				assert_int_equal(sum_all(packet, header, total, protocol), 0xffff);
				before[field] = packet[field];
				before[field + 1] = packet[field + 1];
				assert_memory_equal(packet, before, total);
			}
		}
}

/* RFC 768: a sum of zero is sent as all ones, because zero says that there is none. */
static void test_udp_zero(void **state)
{
	__u8 packet[30];
	__u16 sum;

	packet_make(packet, 20, 30, 17);
	packet[26] = packet[27] = 0;
	assert_int_equal(datapath_finish_packet(packet, 30), 0);
	assert_int_equal(packet[26] | packet[27], 0);
	packet[26] = 0xab;
	packet[28] = packet[29] = 0;
	memset(packet + 26, 0, 2);
	sum = sum_all(packet, 20, 30, 17);
	packet[28] = (__u8)((__u16)~sum >> 8); /* the payload makes the sum all ones, its complement zero */
	packet[29] = (__u8)~sum;
	packet[26] = 0xab;
	assert_int_equal(datapath_finish_packet(packet, 30), 0);
	assert_int_equal(packet[26], 0xff);
	assert_int_equal(packet[27], 0xff);
}

static void test_not_well_formed(void **state)
{
	__u8 packet[64], copy[64];

	packet_make(packet, 20, 60, 6);
	for (size_t len = 0; len < 60; len++)
		assert_int_equal(datapath_finish_packet(packet, len), -EBADMSG);
	packet_make(packet, 20, 39, 6); /* a TCP header cut short */
	assert_int_equal(datapath_finish_packet(packet, 39), -EBADMSG);
	packet_make(packet, 20, 27, 17);
	assert_int_equal(datapath_finish_packet(packet, 27), -EBADMSG);
	packet_make(packet, 20, 60, 6);
	packet[0] = 0x65;
	assert_int_equal(datapath_finish_packet(packet, 60), -EBADMSG);
	packet[0] = 0x44;
	assert_int_equal(datapath_finish_packet(packet, 60), -EBADMSG);
	/* Left alone: fragments, and what is not TCP or UDP. */
	packet_make(packet, 20, 60, 6);
	packet[6] = 0x20;
	memcpy(copy, packet, sizeof(copy));
	assert_int_equal(datapath_finish_packet(packet, 60), 0);
	assert_memory_equal(packet, copy, 60);
	packet_make(packet, 20, 60, 1);
	memcpy(copy, packet, sizeof(copy));
	assert_int_equal(datapath_finish_packet(packet, 60), 0);
	assert_memory_equal(packet, copy, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reasons_are_documented), cmocka_unit_test(test_reasons_have_names),
		cmocka_unit_test(test_checksums),	       cmocka_unit_test(test_udp_zero),
		cmocka_unit_test(test_not_well_formed),
	};

	return cmocka_run_group_tests_name("datapath", tests, NULL, NULL);
}
