/* SPDX-License-Identifier: MIT */
#ifndef AFN_RECORDS_H
#define AFN_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#define AFN__RECORD_HEADER_SIZE 5

/*
 * Counts the records of TLS, in one direction, as the bytes of the wire go by.  Ready when zeroed.
 * OpenSSL does not tell how many it made, and what one call of it writes may be several.
 */
struct afn__records {
    uint64_t count; /* of those that are complete */
    size_t left;    /* bytes of the body that are still to come */
    unsigned char header[AFN__RECORD_HEADER_SIZE];
    unsigned char header_length; /* 0 while the body goes by */
};

/* How many bytes are missing of the header, or of the body that it announced. */
size_t afn__records_get_rest(const struct afn__records *records);

void afn__records_pass(struct afn__records *records, const void *data, size_t length);

#endif
