#include "wire.h"
#include "../base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HELLO_SECONDS = 5 };
static const uint32_t MAGIC = 0x4e525452; /* "RTRN" */

typedef struct {
    uint32_t magic, kind;
    uint64_t size;
} frame;

/* Milliseconds until the deadline for poll(), at most a second, so that `stop` is asked now and then. */
static int wait_ms(double deadline) {
    double left = deadline - rt_clock_seconds();
    return left <= 0 ? 0 : left > 1 ? 1000 : (int)(left * 1000) + 1;
}

static rt_status wait_for(int fd, short what, double deadline) {
    for (;;) {
        struct pollfd p = {.fd = fd, .events = what};
        int n = poll(&p, 1, wait_ms(deadline));
        if (n > 0) return RT_OK;
        if (n < 0 && errno != EINTR) return rt_fail(RT_EIO, "waiting for another rank: %s", strerror(errno));
        if (rt_clock_seconds() >= deadline) return rt_fail(RT_EUNAVAILABLE, "no answer from another rank in time");
    }
}

static rt_status send_all(int fd, const void *bytes, size_t size, double deadline) {
    const char *p = bytes;
    while (size) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            p += n, size -= (size_t)n;
        } else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            return rt_fail(RT_EIO, "sending to another rank: %s", strerror(errno));
        } else {
            RT_TRY(wait_for(fd, POLLOUT, deadline));
        }
    }
    return RT_OK;
}

static rt_status receive(int fd, void *bytes, size_t size, int flags, double deadline) {
    char *p = bytes;
    while (size) {
        ssize_t n = recv(fd, p, size, MSG_DONTWAIT | flags);
        if (n == 0) return rt_fail(RT_EIO, "another rank closed its connection");
        if (n > 0 && !(flags & MSG_PEEK)) {
            p += n, size -= (size_t)n;
        } else if (n > 0) {
            if ((size_t)n >= size) return RT_OK;
            /* A header in two parts: poll would return at once, so give it a moment. */
            if (rt_clock_seconds() >= deadline) return rt_fail(RT_EUNAVAILABLE, "no answer from another rank in time");
            poll(NULL, 0, 1);
        } else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            return rt_fail(RT_EIO, "reading from another rank: %s", strerror(errno));
        } else {
            RT_TRY(wait_for(fd, POLLIN, deadline));
        }
    }
    return RT_OK;
}

rt_status rt_wire_send(int fd, uint32_t kind, const void *bytes, size_t size, double deadline) {
    frame f = {MAGIC, kind, size};
    RT_TRY(send_all(fd, &f, sizeof f, deadline));
    return send_all(fd, bytes, size, deadline);
}

static rt_status header(int fd, uint32_t kind, int flags, size_t *size, double deadline) {
    frame f;
    RT_TRY(receive(fd, &f, sizeof f, flags, deadline));
    if (f.magic != MAGIC) return rt_fail(RT_EINTERNAL, "another rank sent what is no frame");
    if (f.kind != kind)
        return rt_fail(RT_EINTERNAL, "the ranks are out of step: another rank is at collective %u, this one at %u",
                       f.kind, kind);
    if (f.size > SIZE_MAX / 2)
        return rt_fail(RT_EINTERNAL, "another rank sent a frame of %llu bytes", (unsigned long long)f.size);
    *size = (size_t)f.size;
    return RT_OK;
}

rt_status rt_wire_next(int fd, uint32_t kind, size_t *size, double deadline) {
    return header(fd, kind, MSG_PEEK, size, deadline);
}

rt_status rt_wire_read(int fd, uint32_t kind, void *bytes, size_t size, double deadline) {
    size_t sent;
    RT_TRY(header(fd, kind, 0, &sent, deadline));
    if (sent != size) return rt_fail(RT_EINTERNAL, "another rank sent %zu bytes where %zu were due", sent, size);
    return receive(fd, bytes, size, 0, deadline);
}

static rt_status resolve(const char *address, int port, struct addrinfo **list) {
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    snprintf(service, sizeof service, "%d", port);
    int error = getaddrinfo(address, service, &hints, list);
    if (error)
        return rt_fail(RT_EUNAVAILABLE, "rank 0's address %.100s: %s", address,
                       error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    return RT_OK;
}

rt_status rt_wire_resolve(const char *address, double deadline, bool (*stop)(void),
                          void (*await)(void *context, const char *what), void *context) {
    for (bool told = false;; told = true) {
        struct addrinfo *list = NULL;
        if (resolve(address, 0, &list) == RT_OK) {
            freeaddrinfo(list);
            rt_error_clear();
            return RT_OK;
        }
        if (stop && stop()) return rt_fail(RT_ESTOPPED, "stopped by a signal while waiting for an address");
        if (rt_clock_seconds() >= deadline)
            return rt_fail_context(RT_EUNAVAILABLE,
                                   "waited until distributed.timeout; MASTER_ADDR must be a name or an address of rank "
                                   "0's node that every node knows");
        if (!told && await) await(context, rt_error_get()->text);
        poll(NULL, 0, wait_ms(deadline) < 500 ? wait_ms(deadline) : 500);
    }
}

static void tune(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* slower without, never wrong */
}

rt_status rt_wire_listen(const char *address, int port, int backlog, int *out, int *chosen_port) {
    struct addrinfo *list = NULL;
    int fd = -1, error = 0, on = 1;
    RT_TRY(resolve(address, port, &list));
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
        if (fd < 0) {
            error = errno;
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, backlog) != 0) {
            error = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0)
        return rt_fail(RT_EUNAVAILABLE,
                       "rank 0 cannot listen on %.100s port %d: %s; MASTER_ADDR must name an address of rank 0's node, "
                       "MASTER_PORT a free port",
                       address, port, strerror(error));
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    *chosen_port = port;
    if (getsockname(fd, (struct sockaddr *)&own, &size) == 0)
        *chosen_port = ntohs(own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&own)->sin6_port
                                                       : ((struct sockaddr_in *)&own)->sin_port);
    *out = fd;
    return RT_OK;
}

static int try_connect(const struct addrinfo *a, double deadline) {
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0) return -1;
    int error = 0;
    socklen_t size = sizeof error;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) return fd;
    if (errno == EINPROGRESS && wait_for(fd, POLLOUT, deadline) == RT_OK &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
        return fd;
    if (error) errno = error;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

rt_status rt_wire_connect(const char *address, int port, const rt_hello *hello, double deadline, bool (*stop)(void),
                          int *out) {
    for (;;) {
        struct addrinfo *list = NULL;
        int fd = -1, error = 0;
        if (resolve(address, port, &list) == RT_OK) {
            double soon = rt_clock_seconds() + 1;
            for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
                fd = try_connect(a, soon < deadline ? soon : deadline);
                if (fd < 0) error = errno;
            }
            freeaddrinfo(list);
            if (fd >= 0) {
                tune(fd);
                rt_error_clear();
                *out = fd;
                rt_status rc = rt_wire_send(fd, hello->channel, hello, sizeof *hello, deadline);
                if (rc != RT_OK) close(fd);
                return rc;
            }
            rt_fail(RT_EUNAVAILABLE, "rank 0 does not answer on %.100s port %d: %s", address, port, strerror(error));
        }
        if (stop && stop()) return rt_fail(RT_ESTOPPED, "stopped by a signal while waiting for rank 0");
        if (rt_clock_seconds() >= deadline)
            return rt_fail_context(RT_EUNAVAILABLE, "rank %u waited until distributed.timeout", hello->rank);
        poll(NULL, 0, 50);
    }
}

/* Equal for all lengths, whatever the content: what is compared is no secret from the clock. */
static bool same_token(const char a[256], const char b[256]) {
    unsigned char differ = 0;
    for (int i = 0; i < 256; i++) differ |= (unsigned char)(a[i] ^ b[i]);
    return differ == 0;
}

static bool is_ours(const rt_hello *mine, rt_hello *theirs) {
    if (!same_token(mine->token, theirs->token)) return false;
    theirs->host[sizeof theirs->host - 1] = 0;
    for (char *c = theirs->host; *c; c++)
        if (*c < 0x21 || *c > 0x7e) *c = '?'; /* it will be printed */
    return theirs->channel == RT_CHANNEL_HOST || theirs->channel == RT_CHANNEL_WATCH;
}

static rt_status take_hello(int fd, const rt_hello *mine, rt_hello *theirs, bool *ours) {
    double soon = rt_clock_seconds() + HELLO_SECONDS;
    frame f;
    *ours = false;
    if (receive(fd, &f, sizeof f, 0, soon) != RT_OK || f.magic != MAGIC || f.size != sizeof *theirs ||
        receive(fd, theirs, sizeof *theirs, 0, soon) != RT_OK || !is_ours(mine, theirs)) {
        rt_error_clear();
        return RT_OK;
    }
    *ours = true;
    if (theirs->version != mine->version)
        return rt_fail(RT_ECONFIG,
                       "rank %u on %s speaks version %u of the ranks' protocol, rank 0 speaks %u: run one build of "
                       "rectrain on every node",
                       theirs->rank, theirs->host, theirs->version, mine->version);
    if (theirs->size != mine->size || theirs->rank >= mine->size || theirs->rank == 0)
        return rt_fail(RT_ECONFIG, "a process on %s says it is rank %u of %u, but rank 0 knows of %u ranks",
                       theirs->host, theirs->rank, theirs->size, mine->size);
    return RT_OK;
}

rt_status rt_wire_accept(int listener, const rt_hello *mine, double deadline, bool (*stop)(void), int *strangers,
                         rt_hello *theirs, int *out) {
    for (;;) {
        bool ours = false;
        if (stop && stop()) return rt_fail(RT_ESTOPPED, "stopped by a signal while waiting for the other ranks");
        /* cppcheck-suppress nullPointer // both may be NULL: nobody asks who it is */
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            tune(fd);
            rt_status rc = take_hello(fd, mine, theirs, &ours);
            if (rc == RT_OK && ours) {
                *out = fd;
                return RT_OK;
            }
            close(fd);
            if (rc != RT_OK) return rc;
            ++*strangers;
            continue;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED)
            return rt_fail(RT_EIO, "waiting for the other ranks: %s", strerror(errno));
        if (rt_clock_seconds() >= deadline) return rt_fail(RT_EUNAVAILABLE, "not all ranks came in time");
        struct pollfd p = {.fd = listener, .events = POLLIN};
        poll(&p, 1, wait_ms(deadline) < 100 ? wait_ms(deadline) : 100);
    }
}
