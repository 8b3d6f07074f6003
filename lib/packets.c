/* SPDX-License-Identifier: MIT */
#include "packets.h"

#include "glance.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int afn__packets_append(struct afn__packets *packets, const void *data, size_t length,
                        const struct sockaddr *address, socklen_t address_length)
{
    struct afn__packet *packet;

    if (length > SIZE_MAX - sizeof(*packet) - address_length)
        return -ENOMEM;
    packet = malloc(sizeof(*packet) + address_length + length);
    if (!packet)
        return -ENOMEM;
    *packet = (struct afn__packet){.length = length, .address_length = address_length};
    packet->data = (unsigned char *)packet->address + address_length;
    if (address_length)
        memcpy(packet->address, address, address_length);
    if (length)
        memcpy(packet->data, data, length);
    if (packets->last)
        packets->last->next = packet;
    else
        packets->first = packet;
    packets->last = packet;
    AFN__SHOW(packets->count, packets->count + 1);
    AFN__SHOW(packets->length, packets->length + length);
    return 0;
}

struct afn__packet *afn__packets_take(struct afn__packets *packets)
{
    struct afn__packet *packet = packets->first;

    packets->first = packet->next;
    if (!packets->first)
        packets->last = NULL;
    AFN__SHOW(packets->count, packets->count - 1);
    AFN__SHOW(packets->length, packets->length - packet->length);
    return packet;
}

void afn__packets_remove(struct afn__packets *packets, size_t count)
{
    assert(count <= packets->count);
    while (count--)
        free(afn__packets_take(packets));
}

void afn__packets_clear(struct afn__packets *packets)
{
    afn__packets_remove(packets, packets->count);
}
