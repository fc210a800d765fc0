// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The floor of the datapath's benchmark: programs that let everything pass. */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

SEC("xdp")
int floor_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc")
int floor_tc(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
