/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What user space sets between opening and loading the object. The verifier
 * sees what is const as constants: branches that such a knob rules out are not
 * loaded.
 */
#ifndef HF_BPF_KNOBS_H
#define HF_BPF_KNOBS_H

/* The kernel has the XFRM kfuncs. Without them what is tunnelled is dropped. */
const volatile __u32 hf_have_xfrm = 0;

/* Heartbeats reflected for one peer: per second, and at once after a silence. */
const volatile __u32 hf_reflect_per_second = 200;
const volatile __u32 hf_reflect_burst = 50;

/* TCP port of the key management service, host order: the one knob that is turned while the programs run. */
volatile __u32 hf_kms_port = 7546;

#endif
