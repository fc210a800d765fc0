/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Security associations: the kernels' states of all nodes, in one table by receiver
 * and SPI, so that what each end installs is held against what the other end did.
 * Keys are numbers; 0 is no key, which is plaintext.
 */
#ifndef HF_SIM_SA_H
#define HF_SIM_SA_H

#include <linux/types.h>
#include <stdbool.h>

#define SA_BUCKETS 4096

struct sim;
struct node;

struct sa {
	int receiver; /* index of the node */
	__u32 spi;
	__u64 key;
	int sender;
	__u32 if_id; /* the receiver's own for the sender */
	__u32 life;  /* of the receiver when it was installed */
	bool in;     /* the receiver has it */
	bool fading; /* nobody speaks of it any more; it goes when its time has come. Until when, and what is known of its use: */
	bool used;
	__u64 until_ns, abandoned_ns, looked;
	struct sa *next_fading; /* of the same peer */
	bool out;    /* the sender has installed its half, once and never again */
	__u64 taken;	      /* how many packets have come through it */
	__u64 newest, window; /* replay protection: bit i is newest - i */
	__u64 sent;	      /* sequence number, of the sender */
	struct sa *next;
};

struct sa_table {
	struct sa *bucket[SA_BUCKETS];
};

/* The receiver installs its half. Returns it, or NULL where it has such an SPI, as a kernel does, or after a fault. */
struct sa *sa_install_in(struct sim *sim, struct node *receiver, int sender, __u32 spi, __u64 key, __u32 if_id);

/* The sender installs its half, which the other end must have had before. Returns it, or NULL after a fault. */
struct sa *sa_install_out(struct sim *sim, struct node *sender, int receiver, __u32 spi, __u64 key);

/* What the receiver's kernel finds; NULL: nothing. */
struct sa *sa_find(struct sim *sim, const struct node *receiver, __u32 spi);

/* Whether the number is new, and so the packet is taken. */
bool sa_take_number(struct sa *sa, __u64 number);

/* All that the receiver's kernel has. */
void sa_each_in(struct sim *sim, struct node *receiver, void (*each)(struct sim *sim, struct node *node, struct sa *sa));

void sa_remove_in(struct sa *sa);
void sa_clear(struct sa_table *table);

#endif
