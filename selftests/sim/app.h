/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The program of a client that sends through the tunnel at a pace, and counts the answers. */
#ifndef HF_SIM_APP_H
#define HF_SIM_APP_H

#include "selftests/sim/net.h"

/* From now on it sends; and the target, where the shape says so, sends to it. */
void app_start(struct sim *sim, struct node *client);

void app_receive(struct sim *sim, struct node *client, const struct inner *answer);

/* From here on each packet must be answered; at most 64 of them, those until app_window_end(). */
void app_window_begin(struct node *client);
void app_window_end(struct node *client);

/* How many were sent in the window, and how many of them are answered. */
unsigned int app_window_sent(const struct node *client);
unsigned int app_window_answered(const struct node *client);

#endif
