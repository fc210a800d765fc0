/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/sa.h"

#include <stdlib.h>

#include "selftests/sim/node.h"
#include "selftests/sim/sim.h"

static struct sa **bucket(struct sim *sim, int receiver, __u32 spi)
{
	return &sim->sas.bucket[rng_mix((__u64)receiver << 32 | spi) % SA_BUCKETS];
}

/* The newest under this SPI that the receiver was ever to have, with this key; 0: with any. */
static struct sa *find(struct sim *sim, int receiver, __u32 spi, __u64 key)
{
	struct sa *sa = *bucket(sim, receiver, spi);

	while (sa && (sa->receiver != receiver || sa->spi != spi || (key && sa->key != key)))
		sa = sa->next;
	return sa;
}

struct sa *sa_install_in(struct sim *sim, struct node *receiver, int sender, __u32 spi, __u64 key, __u32 if_id)
{
	struct sa **first = bucket(sim, receiver->index, spi), *before = find(sim, receiver->index, spi, 0), *sa;

	if (before && !sim->shape.few_spis) {
		/* SPIs are drawn without repetition in one run, so this is no accident. */
		sim_fault(sim, "two keys for one SPI: %s has installed %08x for node %d, and now for node %d",
			  receiver->name, spi, before->sender, sender);
		return NULL;
	}
	if (sa_find(sim, receiver, spi)) {
		sim->count.collisions++;
		TRACE(sim, receiver, "has SPI %08x already", spi);
		return NULL;
	}
	if (!key) {
		sim_fault(sim, "plaintext: %s installs SPI %08x without a key", receiver->name, spi);
		return NULL;
	}
	sa = sim_alloc(1, sizeof(*sa));
	*sa = (struct sa){ .receiver = receiver->index, .spi = spi, .key = key, .sender = sender, .if_id = if_id,
			   .life = receiver->life, .in = true, .next = *first };
	*first = sa;
	return sa;
}

struct sa *sa_install_out(struct sim *sim, struct node *sender, int receiver, __u32 spi, __u64 key)
{
	struct sa *sa = find(sim, receiver, spi, sim->shape.few_spis ? key : 0);

	if (!sa)
		sim_fault(sim, "%s would send under SPI %08x, which %s has never installed%s", sender->name, spi,
			  sim->nodes[receiver].name, sim->shape.few_spis ? " with this key" : "");
	else if (sa->key != key || sa->sender != sender->index)
		sim_fault(sim, "two keys for one SPI: %s sends under %08x with another key than %s has for it",
			  sender->name, spi, sim->nodes[receiver].name);
	else if (sa->out)
		sim_fault(sim, "a key used twice: %s installs SPI %08x once more, and its numbers begin anew",
			  sender->name, spi);
	else
		sa->out = true;
	return sim->failed ? NULL : sa;
}

struct sa *sa_find(struct sim *sim, const struct node *receiver, __u32 spi)
{
	struct sa *sa = *bucket(sim, receiver->index, spi);

	while (sa && (sa->receiver != receiver->index || sa->spi != spi || !sa->in || sa->life != receiver->life))
		sa = sa->next;
	return sa;
}

bool sa_take_number(struct sa *sa, __u64 number)
{
	__u64 back;

	if (number > sa->newest) {
		back = number - sa->newest;
		sa->window = back < 64 ? sa->window << back | 1 : 1;
		sa->newest = number;
		sa->taken++;
		return true;
	}
	back = sa->newest - number;
	if (back >= 64 || sa->window >> back & 1)
		return false;
	sa->window |= 1ull << back;
	sa->taken++;
	return true;
}

void sa_remove_in(struct sa *sa)
{
	if (sa)
		sa->in = false;
}

void sa_each_in(struct sim *sim, struct node *receiver, void (*each)(struct sim *sim, struct node *node, struct sa *sa))
{
	for (int b = 0; b < SA_BUCKETS; b++)
		for (struct sa *sa = sim->sas.bucket[b]; sa; sa = sa->next)
			if (sa->in && sa->receiver == receiver->index && sa->life == receiver->life)
				each(sim, receiver, sa);
}

void sa_clear(struct sa_table *table)
{
	for (int i = 0; i < SA_BUCKETS; i++)
		while (table->bucket[i]) {
			struct sa *sa = table->bucket[i];

			table->bucket[i] = sa->next;
			free(sa);
		}
}
