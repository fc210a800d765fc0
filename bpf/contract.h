/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the datapath (bpf/) and user space (loader/): what lies
 * in the maps and in the ring buffer, and nothing else. Included after
 * vmlinux.h by the programs and after <linux/types.h> by user space, so it
 * includes nothing itself. Fixed-width types, no implicit padding; a change of
 * any layout here raises HF_CONTRACT_VERSION, and pinned maps of another
 * version are not adopted. bpf/README.md is the table of the maps for readers.
 *
 * Words: a *slot* is a place that traffic is steered by: a cluster of gateways,
 * or one client of this gateway. A *peer* is one end of one session pair: a
 * gateway or a client, known by its XFRM if_id.
 */
#ifndef HF_BPF_CONTRACT_H
#define HF_BPF_CONTRACT_H

#define HF_CONTRACT_VERSION 4

/* The mark on what Holdfast itself sends on the underlay: never routed into the tunnel. */
#define HF_MARK 0x48460000u
#define HF_MARK_MASK 0xffff0000u

/* ESP with this SPI is a heartbeat (the specification; 0xFFFFFFFF is never negotiated). */
#define HF_BEAT_SPI 0xffffffffu
#define HF_UDP_ENCAP_PORT 4500 /* RFC 3948 */

/* An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d. */
struct hf_addr {
	__u8 b[16];
};

/* What follows the SPI in a heartbeat; sequence as in ESP (RFC 4303, 2.2), nonce random. */
struct hf_beat_wire {
	__be32 spi;
	__be32 sequence;
	__u64 nonce;
	__u8 zero[8];
} __attribute__((packed));

/*
 * Control packets travel inside the SA: an inner packet with this protocol
 * number (RFC 3692, experimentation) whose payload is struct hf_control_wire.
 * From the client's inner address to the gateway's outer one, or the reverse.
 */
#define HF_CONTROL_PROTOCOL 253
#define HF_CONTROL_MAGIC 0x48464354u /* "HFCT" */

enum hf_control_type {
	HF_CONTROL_PROBE = 1,  /* client: I use you now; claim my inner addresses, and answer. Gateway: are you there? */
	HF_CONTROL_ANSWER = 2, /* the same nonce back */
	HF_CONTROL_LEAVE = 3,  /* client: I have left you; give up the claim */
	HF_CONTROL_DRAIN = 4,  /* gateway: leave me for another (gate closed) */
	HF_CONTROL_BYE = 5,    /* client: I go down in order; end our session. Gateway: our session is over */
	HF_CONTROL_START = 6,  /* gateway: traffic for you came here before we had a session; use me */
	HF_CONTROL_REKEY = 7,  /* gateway: our keys have been used enough; dial me for new ones */
};

struct hf_control_wire {
	__be32 magic;
	__be32 if_id; /* the sender's own if_id of the peer, for its TC egress; the receiver ignores it */
	__u64 nonce;
	__u8 type; /* enum hf_control_type */
	__u8 zero[7];
};

/* hf_tunnels: LPM trie, inner destination -> slot. */
struct hf_tunnel_key {
	__u32 prefixlen; /* of the mapped form: 96 + n for IPv4 */
	struct hf_addr addr;
};

struct hf_tunnel {
	__u32 slot;
	__u32 number; /* of the Tunnel statement; 0 for a client of this gateway */
};

/* hf_steer: array, slot -> the peer in use. if_id 0: none, the packet is held or dropped. */
#define HF_STEER_MAX 131072u /* slots */
#define HF_STEER_NOBODY HF_STEER_MAX /* of a prefix that leads nowhere: a client had it a moment ago */

struct hf_steer {
	__u32 if_id;
	__u32 watch; /* 1: tell of the next packet (HF_EVENT_PAYLOAD); the datapath sets 0 */
};

/* hf_members: hash; present when the peer may send from the addresses of the slot. */
struct hf_member {
	__u32 slot;
	__u32 if_id;
};

enum hf_role {
	HF_ROLE_GATEWAY = 1, /* this node uses it; usually, this node dialled */
	HF_ROLE_CLIENT = 2,  /* it uses this node; usually, it dialled */
};

/* hf_peers: hash, if_id -> who it is. Written by user space only. */
struct hf_peer {
	struct hf_addr outer;
	enum hf_role role;
	char label[44]; /* the outer address as text, for bpftool */
};

/* hf_live: hash, if_id -> signs of life. Written by the datapath only; times of bpf_ktime_get_ns(). */
struct hf_live {
	__u64 last_rx_ns;      /* last authenticated inner packet that passed the source check */
	__u64 beat_rx_ns;      /* last answer to one of our heartbeats */
	__u64 beat_rtt_ns;     /* its round trip */
	__u64 beats_answered;  /* answers to our heartbeats so far */
	__u64 beats_reflected; /* heartbeats of the peer we answered */
	__u64 reflect_ns;      /* token bucket of the reflector: time of last refill */
	__u64 reflect_tokens;
};

/* hf_outer: hash, outer address -> peer with a live session, for XDP. port 0: plain ESP. */
struct hf_outer_key {
	struct hf_addr addr;
	__u16 port; /* the peer's UDP port where it encapsulates in UDP; in host order, to be read by people */
	__u8 pad[2];
};

struct hf_outer {
	__u32 if_id;
	__u32 reflect; /* 1: answer its heartbeats */
};

/* hf_beats: hash, nonce -> an outstanding heartbeat of ours. The datapath deletes what is answered. */
struct hf_beat {
	__u64 sent_ns;
	__u32 if_id;
	__u32 pad;
};

/* hf_gate: array of one. The reflector answers while now < open_until_ns. */
struct hf_gate {
	__u64 open_until_ns;
};

/* hf_claims: hash, if_id of a client -> whether user space was told that the client uses us. */
struct hf_claim {
	__u32 told; /* 0: tell at the next inner packet; the datapath sets 1 */
};

/*
 * hf_protected: hash, ifindex -> one of these. What comes in on a Protected interface
 * does not go out on the underlay; what hf0 has decrypted does so only where the
 * underlay interface is itself a Protected one. Empty on a node that protects nothing.
 */
#define HF_PROTECTED_MAX 64u
#define HF_PROTECTED_TARGETS 1u /* a Protected interface */
#define HF_PROTECTED_TUNNEL 2u	/* hf0 */

#define HF_CERTIFICATE_LEN 288

/*
 * hf_sessions: hash, if_id -> what holdfastd must know to go on with a session
 * that an earlier run of it made. Never keys: those are in the kernel's XFRM
 * states, and a record without its two states is void. No program reads it.
 */
#define HF_NAME_MAX 64
#define HF_INNER_MAX 16

struct hf_session {
	struct hf_addr local; /* outer addresses */
	struct hf_addr remote;
	__u64 established_ns; /* CLOCK_MONOTONIC, as bpf_ktime_get_ns() */
	__s64 not_after;      /* of the peer's certificate, seconds since 1970 */
	__u64 grants;	      /* fingerprint of the policy's [PEER] statements that it was granted under */
	__u32 spi_in;	      /* host order */
	__u32 spi_out;
	__u32 lifetime_s;
	__u32 slot;  /* of a client; 0: a gateway */
	__u32 named; /* of a client: bit i: the policy tunnels inner[i] to it */
	__u16 port;  /* the peer's UDP port, host order; 0: plain ESP */
	__u8 role;   /* enum hf_role */
	__u8 algorithm;
	__u8 claimed; /* of a client: its addresses are claimed */
	__u8 proven;  /* remote is an address of its certificate */
	__u8 n_inner;
	__u8 pad[5];
	__u8 certificate[HF_CERTIFICATE_LEN]; /* struct kms_certificate: which ones it rests on, for revocation */
	char name[HF_NAME_MAX]; /* of the peer's certificate */
	struct hf_tunnel_key inner[HF_INNER_MAX];
};

/* hf_slots: hash, slot of a cluster -> its name, by which the next run gives it the same. No program reads it. */
struct hf_slot {
	char name[HF_NAME_MAX];
};

/* hf_events: ring buffer, datapath -> holdfastd. Each record starts with struct hf_event. */
#define HF_EVENTS_SIZE (1u << 21) /* bytes: five hundred held packets at the most, and ten thousand other events */

enum hf_event_type {
	HF_EVENT_WANT = 1,    /* traffic for a slot without a peer; packet follows (to be held) */
	HF_EVENT_CLAIM = 2,   /* first inner packet of a client whose claim is not told */
	HF_EVENT_CONTROL = 3, /* a control packet that came through the SA of if_id */
	HF_EVENT_PAYLOAD = 4, /* a packet left by a slot that was watched */
};

struct hf_event {
	__u64 time_ns;
	enum hf_event_type type;
	__u32 if_id;	      /* CLAIM, CONTROL */
	__u32 slot;	      /* WANT, PAYLOAD */
	__u32 packet_len;     /* WANT: bytes of packet[]; 0 when it was too large to hold */
	struct hf_addr inner; /* CLAIM, CONTROL: inner source */
	__u64 nonce;	      /* CONTROL */
	__u32 control;	      /* CONTROL: enum hf_control_type */
	__u32 pad;
};

#define HF_HOLD_MAX 2048 /* the longest packet that is held, from its IP header on */

struct hf_event_packet {
	struct hf_event event;
	__u8 packet[HF_HOLD_MAX];
};

/*
 * Why a packet was dropped: the one list. X(name, text). The name is the enum
 * constant, the key in status --json and the metric's label; bpf/README.md's
 * table is checked against it.
 */
#define HF_DROP_REASONS(X)                                                                        \
	X(not_tunnelled, "on hf0, but the policy tunnels no such destination")                    \
	X(no_session, "no gateway has a session, and the packet could not be held")               \
	X(no_xfrm, "the kernel did not take the XFRM metadata")                                   \
	X(malformed, "the inner packet is not well-formed")                                       \
	X(family, "an address family that the tunnel does not carry yet")                        \
	X(unknown_peer, "decrypted, but from no peer in the maps")                                \
	X(inner_source, "the peer may not use this inner source address")                         \
	X(control_malformed, "a control packet that is not well-formed")                          \
	X(control_consumed, "a control packet, handed to holdfastd")                              \
	X(control_lost, "a control packet that found the ring buffer full")                       \
	X(beat_malformed, "a heartbeat that is truncated, a fragment or out of hops")             \
	X(beat_answered, "an answer to a heartbeat of ours, consumed")                            \
	X(beat_stranger, "a heartbeat from an address without a live session")                    \
	X(beat_unasked, "a heartbeat answer whose nonce is not outstanding")                      \
	X(beat_gate, "a heartbeat while this gateway's gate is closed")                           \
	X(beat_rate, "a heartbeat over its peer's rate")                                          \
	X(held, "handed to holdfastd, to be sent when a session stands")                          \
	X(clear, "from a protected network or to a tunnelled destination, and would have left in clear")

enum hf_drop {
#define HF_DROP_ENUM(name, text) HF_DROP_##name,
	HF_DROP_REASONS(HF_DROP_ENUM)
#undef HF_DROP_ENUM
	HF_DROP_MAX
};

/*
 * hf_drops: per-CPU array of one; the counters in the order of enum hf_drop. A
 * structure, because an array map's key may not be an enum: so bpftool shows the names.
 */
struct hf_drops {
#define HF_DROP_FIELD(name, text) __u64 name;
	HF_DROP_REASONS(HF_DROP_FIELD)
#undef HF_DROP_FIELD
};

/* hf_version: array of one. Pinned last and checked first. */
struct hf_version {
	__u32 contract; /* HF_CONTRACT_VERSION */
};

_Static_assert(sizeof(struct hf_addr) == 16, "contract");
_Static_assert(sizeof(struct hf_beat_wire) == 24, "contract");
_Static_assert(sizeof(struct hf_control_wire) == 24, "contract");
_Static_assert(sizeof(struct hf_tunnel_key) == 20, "contract");
_Static_assert(sizeof(struct hf_peer) == 64, "contract");
_Static_assert(sizeof(struct hf_live) == 56, "contract");
_Static_assert(sizeof(struct hf_outer_key) == 20, "contract");
_Static_assert(sizeof(struct hf_beat) == 16, "contract");
_Static_assert(sizeof(struct hf_session) == 760, "contract");
_Static_assert(sizeof(struct hf_event) == 56, "contract");
_Static_assert(sizeof(struct hf_drops) == HF_DROP_MAX * sizeof(__u64), "contract");

#endif
