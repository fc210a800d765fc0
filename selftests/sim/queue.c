/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "selftests/sim/queue.h"

#include <stdio.h>
#include <stdlib.h>

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void grow(struct queue *queue)
{
	size_t room = queue->room ? 2 * queue->room : 256;
	struct event *heap = reallocarray(queue->heap, room, sizeof(*heap));

	if (!heap) {
		fputs("sim: out of memory\n", stderr);
		exit(2);
	}
	queue->heap = heap;
	queue->room = room;
}

void queue_push(struct queue *queue, struct event event)
{
	size_t at;

	if (queue->n == queue->room)
		grow(queue);
	event.order = queue->order++;
	for (at = queue->n++; at && before(&event, &queue->heap[(at - 1) / 2]); at = (at - 1) / 2)
		queue->heap[at] = queue->heap[(at - 1) / 2];
	queue->heap[at] = event;
}

bool queue_pop(struct queue *queue, struct event *ret_event)
{
	struct event *heap = queue->heap, last;
	size_t at = 0, child;

	if (!queue->n)
		return false;
	*ret_event = heap[0];
	last = heap[--queue->n];
	for (; (child = 2 * at + 1) < queue->n; at = child) {
		if (child + 1 < queue->n && before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &last))
			break;
		heap[at] = heap[child];
	}
	heap[at] = last;
	return true;
}

void queue_clear(struct queue *queue)
{
	for (size_t i = 0; i < queue->n; i++)
		if (queue->heap[i].owned)
			free(queue->heap[i].what);
	free(queue->heap);
	*queue = (struct queue){ 0 };
}
