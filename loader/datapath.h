/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The datapath as user space sees it: loads the BPF programs, pins and adopts
 * their maps, attaches and detaches, and gives every map a typed function. It
 * owns the pins and the attachments; it knows nothing of sessions, policies or
 * XFRM, does not log, and keeps no copy of what is in the maps.
 *
 * The order at a start: datapath_open(), fill the maps, then attach. At the
 * end: datapath_free() leaves the datapath running (the next datapath_open() of
 * the instance adopts it); datapath_remove() first takes everything down.
 *
 * if_id 0 is no peer anywhere. All functions return 0 or -errno unless they say
 * otherwise.
 */
#ifndef HF_LOADER_DATAPATH_H
#define HF_LOADER_DATAPATH_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "bpf/contract.h"
#include "lib/addr.h"

#define DATAPATH_PIN_ROOT "/sys/fs/bpf/holdfast"

struct datapath;

/* What went wrong, for people. detail: the tail of libbpf's and the verifier's log, for debug. */
struct datapath_report {
	char text[320];
	char detail[4096];
};

/* What the kernel can do; see datapath_probe_kernel(). */
struct datapath_kernel {
	bool btf;	  /* /sys/kernel/btf/vmlinux is there */
	bool xfrm_module; /* xfrm_interface is loaded or built in */
	bool xfrm_kfuncs; /* bpf_skb_set_xfrm_info() and bpf_skb_get_xfrm_info() */
	char release[65];
};

/*
 * Looks for the kfuncs in the BTF of the kernel and of the module
 * xfrm_interface. The module must be loaded already (making an xfrm link, or
 * modprobe, loads it). Needs no privileges. On -EOPNOTSUPP, report->text is the
 * one line that says what is missing and what to do; *ret_kernel is filled in
 * either case. report may be NULL.
 */
int datapath_probe_kernel(struct datapath_kernel *ret_kernel, struct datapath_report *report);

struct datapath_config {
	const char *instance;	 /* the pins are in PIN_ROOT/instance; NULL: pin nothing (tests) */
	const char *pin_root;	 /* NULL: DATAPATH_PIN_ROOT */
	__u16 key_service_port;	 /* TCP to and from it is marked on arrival */
	__u32 reflect_per_second; /* heartbeats reflected for one peer; 0: the default, 200 */
	__u32 reflect_burst;	 /* 0: the default, 50 */
	bool without_xfrm;	 /* load on a kernel without the kfuncs; what is tunnelled is dropped (tests) */
};

/*
 * Loads the programs and makes the maps, or adopts the pinned ones: then the
 * running state in them is kept (datapath_is_adopted()). Attaches nothing.
 * -EOPNOTSUPP: kernel without the kfuncs; -ENOTDIR: no bpf file system at the
 * pin root; -EPROTO: pins of another contract version (datapath_unpin() takes
 * them away); -EPERM: no privileges. report->text says so in one line.
 */
int datapath_open(const struct datapath_config *config, struct datapath_report *report,
		  struct datapath **ret_datapath);

/* Frees user space's side. The pins and attachments stay. Takes NULL. */
void datapath_free(struct datapath *dp);

/* Another port in the place of key_service_port, from the next packet on. */
void datapath_set_key_service_port(struct datapath *dp, __u16 port);

/* Whether the maps are those of a datapath that ran before. */
bool datapath_is_adopted(const struct datapath *dp);

/* Removes the pins of an instance, whatever is in them; 0 when there are none. */
int datapath_unpin(const char *pin_root, const char *instance);

/*
 * Attaching. Each replaces what an earlier run of the instance has attached at
 * the same place, without a moment in which neither is attached.
 */

enum datapath_xdp_mode { DATAPATH_XDP_NONE, DATAPATH_XDP_NATIVE, DATAPATH_XDP_GENERIC };

struct datapath_attached {
	enum datapath_xdp_mode mode;
	bool dispatcher; /* through libxdp: lives beside other XDP programs */
	__u32 xdp_id;	 /* of what is attached now, ours or a dispatcher with ours; 0: none */
	bool missed;	 /* datapath_restore_*() only: something of ours was not there */
	char note[200];	 /* why not native, or why not through libxdp; empty when neither */
};

/* TC on the tunnel interface (hf0): encrypt on egress, decrypted on ingress. */
int datapath_attach_tunnel(struct datapath *dp, unsigned int ifindex, struct datapath_report *report);

/* Likewise; ret_attached->missed: one was not there. */
int datapath_restore_tunnel(struct datapath *dp, unsigned int ifindex, struct datapath_report *report,
			    struct datapath_attached *ret_attached);

/*
 * XDP and TC in both directions on an underlay interface. Generic XDP on veth,
 * native elsewhere where the driver has it; none on a link without Ethernet
 * (ppp, tun), where the TC program does its work.
 */
int datapath_attach_underlay(struct datapath *dp, unsigned int ifindex, struct datapath_report *report,
			     struct datapath_attached *ret_attached);

/*
 * As datapath_attach_underlay(), but where our XDP program is attached already, that is left alone. -EBUSY: somebody else's
 * has taken its place and shares with no one; the TC programs are attached all the same.
 */
int datapath_restore_underlay(struct datapath *dp, unsigned int ifindex, struct datapath_report *report,
			      struct datapath_attached *ret_attached);

/*
 * The guard on the way out of an interface that is nothing of Holdfast's: what is
 * tunnelled is dropped there. May be repeated, and takes the place of what another
 * run, or another use of the interface, has left. unguard takes off what is there
 * of ours, 0 also when nothing is. -ENODEV: the interface is gone.
 */
int datapath_guard(struct datapath *dp, unsigned int ifindex);
int datapath_unguard(struct datapath *dp, unsigned int ifindex);
bool datapath_is_guarded(const struct datapath *dp, unsigned int ifindex);

/* The reverse; 0 when nothing of ours is attached or the interface is gone. Other programs stay. */
int datapath_detach_tunnel(struct datapath *dp, unsigned int ifindex);
int datapath_detach_underlay(struct datapath *dp, unsigned int ifindex);

/* Detaches from every interface that this datapath attached to, then unpins. Does not free. */
int datapath_remove(struct datapath *dp);

/*
 * Without a datapath: takes off every interface of this network namespace what a run that has died attached there, and
 * unpins the instance. Other programs stay.
 */
int datapath_clear(const char *pin_root, const char *instance);

/* Whether maps of the instance are pinned. *ret_others: those of another one are. */
bool datapath_is_pinned(const char *pin_root, const char *instance, bool *ret_others);

/*
 * Where tunnelled traffic goes. A slot is below DATAPATH_SLOTS; who hands
 * slots out is the caller.
 */
#define DATAPATH_SLOTS HF_STEER_MAX

struct datapath_tunnel {
	struct hf_prefix prefix;
	__u32 slot;
	__u32 number; /* of the Tunnel statement; 0 for a client */
};

int datapath_set_tunnel(struct datapath *dp, const struct hf_prefix *prefix, __u32 slot, __u32 number);
int datapath_del_tunnel(struct datapath *dp, const struct hf_prefix *prefix); /* 0 also when absent */

/*
 * A prefix that leads nowhere: hf0 and the underlay drop what goes there. open
 * removes it where it still does so; 0 also when it leads somewhere, or is absent.
 */
int datapath_close_tunnel(struct datapath *dp, const struct hf_prefix *prefix);
int datapath_open_tunnel(struct datapath *dp, const struct hf_prefix *prefix);

/* n entries in few system calls. Those that were there and are not among them stay. */
int datapath_set_tunnels(struct datapath *dp, const struct datapath_tunnel *tunnels, size_t n);

/* Calls each for every tunnel entry until it returns non-zero, which is then returned. It may not change the map. */
int datapath_each_tunnel(struct datapath *dp,
			 int (*each)(void *context, const struct datapath_tunnel *tunnel), void *context);

/* The switch: one aligned write. if_id 0: no peer, hold or drop. */
int datapath_steer(struct datapath *dp, __u32 slot, __u32 if_id);
/* The next packet that leaves by the slot, which if_id has, makes an HF_EVENT_PAYLOAD; once. */
int datapath_watch(struct datapath *dp, __u32 slot, __u32 if_id);
int datapath_read_steer(struct datapath *dp, __u32 slot, __u32 *ret_if_id);

/* Whether the peer may send from the inner addresses of the slot. */
int datapath_set_member(struct datapath *dp, __u32 slot, __u32 if_id);
int datapath_del_member(struct datapath *dp, __u32 slot, __u32 if_id); /* 0 also when absent */

/*
 * Peers. set makes the entries in hf_peers and hf_live and, for a client,
 * hf_claims (untold); what is in hf_live and hf_claims already stays. del
 * removes all of these; members and outer addresses are the caller's to remove.
 */
int datapath_set_peer(struct datapath *dp, __u32 if_id, const struct hf_addr *outer, enum hf_role role);
int datapath_del_peer(struct datapath *dp, __u32 if_id); /* 0 also when absent */
int datapath_each_peer(struct datapath *dp,
		       int (*each)(void *context, __u32 if_id, const struct hf_peer *peer), void *context);

/* Records of sessions, for the next run; contract.h. They come and go as the caller says, with nothing else. */
int datapath_set_session(struct datapath *dp, __u32 if_id, const struct hf_session *session);
int datapath_del_session(struct datapath *dp, __u32 if_id); /* 0 also when absent */
int datapath_each_session(struct datapath *dp,
			  int (*each)(void *context, __u32 if_id, const struct hf_session *session), void *context);

/* The name of the cluster that has the slot. */
int datapath_name_slot(struct datapath *dp, __u32 slot, const char *name);
int datapath_each_slot(struct datapath *dp, int (*each)(void *context, __u32 slot, const char *name), void *context);
int datapath_unname_slot(struct datapath *dp, __u32 slot); /* 0 also when absent */

/* What a sweep keeps: each says so of one entry. All are to be given. */
struct datapath_keep {
	bool (*peer)(void *context, __u32 if_id);
	bool (*slot)(void *context, __u32 slot);
	bool (*tunnel)(void *context, const struct datapath_tunnel *tunnel);
	void *context;
};

/*
 * Removes what an earlier run has left in the maps: tunnels, peers with their
 * members, records and outer addresses, slots that lead to nobody kept, and the
 * heartbeats of before datapath_open(). *ret_n: how many entries.
 */
int datapath_sweep(struct datapath *dp, const struct datapath_keep *keep, size_t *ret_n);

/*
 * Outer addresses with a live session. port: the peer's UDP port (host order)
 * where it encapsulates, 0 for plain ESP. reflect: answer its heartbeats.
 */
int datapath_set_outer(struct datapath *dp, const struct hf_addr *outer, __u16 port, __u32 if_id, bool reflect);
int datapath_del_outer(struct datapath *dp, const struct hf_addr *outer, __u16 port); /* 0 also when absent */

/* Heartbeats. add before the packet is sent. del: 1 when it was still outstanding, 0 when it was answered. */
int datapath_add_beat(struct datapath *dp, __u64 nonce, __u32 if_id, __u64 sent_ns);
int datapath_del_beat(struct datapath *dp, __u64 nonce);

/* -ENOENT when there is no such peer. */
int datapath_read_live(struct datapath *dp, __u32 if_id, struct hf_live *ret_live);

/* The reflector answers while CLOCK_MONOTONIC < until_ns; 0 closes the gate. */
int datapath_set_gate(struct datapath *dp, __u64 until_ns);

/*
 * The Protected interfaces are these n from now on (with hf0 at most
 * HF_PROTECTED_MAX, else -E2BIG): what comes in there does not leave on the
 * underlay, and what tunnel (hf0's ifindex; 0: none) has decrypted leaves there
 * only if it is one of these. 0: nothing is protected. Before the underlay is
 * attached and before they forward.
 */
int datapath_set_protected(struct datapath *dp, const unsigned int *ifindexes, size_t n, unsigned int tunnel);

/* The next inner packet of the client makes an HF_EVENT_CLAIM again. -ENOENT when there is no such client. */
int datapath_rearm_claim(struct datapath *dp, __u32 if_id);

/* Packets dropped so far, by reason, over all CPUs. */
int datapath_read_drops(struct datapath *dp, __u64 ret_drops[HF_DROP_MAX]);

/* A reason's name and its text; NULL when there is no such reason. */
const char *datapath_drop_name(enum hf_drop reason);
const char *datapath_drop_text(enum hf_drop reason);

/*
 * Events. The descriptor becomes readable when there are some; consume calls
 * event for each (packet: event->packet_len bytes for HF_EVENT_WANT, else
 * NULL) and returns how many there were, or -errno. It ends after some hundred,
 * and the descriptor stays readable. The pointers are good within the call only.
 */
typedef void (*datapath_event_fn)(void *context, const struct hf_event *event, const __u8 *packet);

void datapath_on_event(struct datapath *dp, datapath_event_fn event, void *context);
int datapath_events_fd(const struct datapath *dp);
int datapath_consume_events(struct datapath *dp);

/* File descriptors for tests by BPF_PROG_RUN; NULL name: -EINVAL; -ENOENT. They stay the datapath's. */
int datapath_program_fd(const struct datapath *dp, const char *name);
int datapath_map_fd(const struct datapath *dp, const char *name);

#endif
