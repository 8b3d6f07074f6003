/* SPDX-License-Identifier: MIT */
#ifndef AFN_PACKETS_H
#define AFN_PACKETS_H

#include <stddef.h>
#include <sys/socket.h>

/* A copy of a datagram and of the address that it is for, or from. */
struct afn__packet {
    struct afn__packet *next;
    size_t length;
    socklen_t address_length;
    unsigned char *data;
    struct sockaddr address[]; /* as long as address_length, then the data */
};

/* Datagrams that wait, in order.  All zero is an empty queue. */
struct afn__packets {
    struct afn__packet *first, *last;
    size_t count;
    size_t length; /* bytes, of the data alone */
};

/* Appends a copy: 0 or -ENOMEM, and then nothing was appended. */
int afn__packets_append(struct afn__packets *packets, const void *data, size_t length,
                        const struct sockaddr *address, socklen_t address_length);

/* Takes the first one, which there is, out of the queue; to be given to free(). */
struct afn__packet *afn__packets_take(struct afn__packets *packets);

/* Removes the first count ones, which there are. */
void afn__packets_remove(struct afn__packets *packets, size_t count);

/* Removes everything. */
void afn__packets_clear(struct afn__packets *packets);

#endif
