/* SPDX-License-Identifier: MIT */
#include "records.h"

static void begin_body(struct afn__records *records, const unsigned char *header)
{
    records->left = (size_t)header[3] << 8 | header[4];
    records->count += !records->left;
}

/* Takes bytes of a header; returns how many. */
static size_t pass_header(struct afn__records *records, const unsigned char *data, size_t length)
{
    size_t used = 0;

    /* Nearly always it is there in one piece. */
    if (!records->header_length && length >= AFN__RECORD_HEADER_SIZE) {
        begin_body(records, data);
        return AFN__RECORD_HEADER_SIZE;
    }
    while (used < length && records->header_length < AFN__RECORD_HEADER_SIZE)
        records->header[records->header_length++] = data[used++];
    if (records->header_length == AFN__RECORD_HEADER_SIZE) {
        records->header_length = 0;
        begin_body(records, records->header);
    }
    return used;
}

static size_t pass_body(struct afn__records *records, size_t length)
{
    size_t used = records->left < length ? records->left : length;

    records->left -= used;
    records->count += !records->left;
    return used;
}

size_t afn__records_get_rest(const struct afn__records *records)
{
    return records->left ? records->left : (size_t)AFN__RECORD_HEADER_SIZE - records->header_length;
}

void afn__records_pass(struct afn__records *records, const void *data, size_t length)
{
    const unsigned char *next = data;

    while (length) {
        size_t used =
            records->left ? pass_body(records, length) : pass_header(records, next, length);

        next += used;
        length -= used;
    }
}
