/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one exit of every packet that is dropped: it counts the reason. */
#ifndef HF_BPF_DROP_H
#define HF_BPF_DROP_H

/* Returns the verdict that it is given, so that `return hf_drop(...)` reads as one step. */
static __always_inline int hf_drop(enum hf_drop reason, int verdict)
{
	__u32 zero = 0;
	__u64 *counters = bpf_map_lookup_elem(&hf_drops, &zero);

	if (counters && reason < HF_DROP_MAX)
		counters[reason]++; /* per CPU */
	return verdict;
}

#endif
