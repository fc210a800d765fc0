/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which slot of the datapath each cluster of the policy has. A cluster keeps its
 * slot as long as it has its name: through reloads, and from one run of
 * holdfastd to the next, for which the map hf_slots notes the names. So traffic
 * is steered by the same entry all the time. The cluster AUTO comes after the
 * policy's last, where the policy has tunnels to it.
 */
#ifndef HF_LOADER_SLOTS_H
#define HF_LOADER_SLOTS_H

#include "loader/datapath.h"
#include "policy/policy.h"

/*
 * Slots for the clusters: those that they had, or else the lowest that neither a
 * cluster of the run before nor a recorded client has; a new one leads to nobody.
 * What is noted stays as it is, for the start may fail still: slots_note() is the
 * next step. *ret_slots is the caller's to free(). Returns 0, or -errno with
 * *ret_slots untouched; -ENOSPC: none is free.
 */
int slots_assign(struct datapath *dp, const struct policy *policy, __u32 **ret_slots);

/* The policy is another from now on: notes the names of its slots. 0 or -errno: then a crash would cost sessions. */
int slots_note(struct datapath *dp, const struct policy *policy, const __u32 *slots);

#endif
