/* Frames over TCP with deadlines: what the rendezvous and the watch speak. Every length is checked before a byte is
 * taken; nothing blocks beyond its deadline (a time of rt_clock_seconds). */
#ifndef RT_COMM_WIRE_H
#define RT_COMM_WIRE_H
#include "../base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who speaks to whom: the first frame on every connection. A stranger does not know the token. */
typedef struct {
    uint32_t version, channel, rank, size;
    char token[256], host[64];
} rt_hello;

enum { RT_WIRE_VERSION = 1, RT_CHANNEL_HOST = 1, RT_CHANNEL_WATCH = 2 };

/* Until the name `address` is known, asking twice a second: a name service may learn of it only after this process has
 * started. `await` (may be NULL) is told once where it has to be waited for, and why. */
rt_status rt_wire_resolve(const char *address, double deadline, bool (*stop)(void),
                          void (*await)(void *context, const char *what), void *context);
/* Listens on the address that `address` names and no other; a port of 0 lets the system choose. */
rt_status rt_wire_listen(const char *address, int port, int backlog, int *fd, int *chosen_port);
/* Tries again until the deadline: rank 0 may start last. Sends the hello. `stop` (may be NULL) ends the waiting. */
rt_status rt_wire_connect(const char *address, int port, const rt_hello *hello, double deadline, bool (*stop)(void),
                          int *fd);
/* One connection with a hello of this run (token, version, size, a channel of ours); others are closed and counted in
 * *strangers; RT_ESTOPPED when `stop` says so, RT_EUNAVAILABLE at the deadline. A hello of this run with another
 * version or size is RT_ECONFIG and says whose. */
rt_status rt_wire_accept(int listener, const rt_hello *mine, double deadline, bool (*stop)(void), int *strangers,
                         rt_hello *theirs, int *fd);

/* A frame: kind, length, bytes. read fails for another kind or length. */
rt_status rt_wire_send(int fd, uint32_t kind, const void *bytes, size_t size, double deadline);
rt_status rt_wire_read(int fd, uint32_t kind, void *bytes, size_t size, double deadline);
/* The next frame's length, without taking it: to make room. */
rt_status rt_wire_next(int fd, uint32_t kind, size_t *size, double deadline);

#endif
