/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How evenly 10,000 clients of one policy use the gateways of their cluster: at
 * first, and after one of them has died. Judged by chi-squared.
 */
#ifndef HF_SIM_SPREAD_H
#define HF_SIM_SPREAD_H

struct sim;

/* Plays it to its end; an uneven load is a fault. */
void spread_play(struct sim *sim);

#endif
