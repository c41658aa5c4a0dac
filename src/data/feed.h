/* Micro-batches on their way to a backend: filled in host memory, copied beside the ops, one ahead of them.
 *
 * For every batch: begin, fill the buffer, send, ops on the batch, end. A backend whose memory is the host's gets the
 * buffer itself. Batches are used in the order in which they were sent; a feed is used by one thread, and the feeds of
 * a backend one after the other. */
#ifndef RT_DATA_FEED_H
#define RT_DATA_FEED_H
#include "batch.h"
#include <rectrain/kernels.h>

typedef struct rt_feed rt_feed;

rt_status rt_feed_new(rt_backend *be, int max_tokens, int max_seqs, rt_feed **out);
void rt_feed_free(rt_feed *feed);
/* The buffer to fill; waits until its last content has been copied. */
rt_status rt_feed_begin(rt_feed *feed, rt_batch_buffer **out);
/* *batch is in backend memory, for ops issued from here until rt_feed_end. */
rt_status rt_feed_send(rt_feed *feed, const rt_batch **batch);
rt_status rt_feed_end(rt_feed *feed);

#endif
