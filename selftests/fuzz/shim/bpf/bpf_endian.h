/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stands in for libbpf's header of this name where the datapath is compiled for user space. */
#ifndef HF_SELFTESTS_FUZZ_SHIM_ENDIAN_H
#define HF_SELFTESTS_FUZZ_SHIM_ENDIAN_H

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define bpf_htons(x) __builtin_bswap16((__u16)(x))
#define bpf_htonl(x) __builtin_bswap32((__u32)(x))
#else
#define bpf_htons(x) ((__u16)(x))
#define bpf_htonl(x) ((__u32)(x))
#endif
#define bpf_ntohs bpf_htons
#define bpf_ntohl bpf_htonl

#endif
