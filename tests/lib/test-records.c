/* SPDX-License-Identifier: MIT */
/* Links: tests/support, libafncore (no libafnsys), OpenSSL, check. */
#include <string.h>

#include "bytes.h"
#include "harness.h"
#include "records.h"

/* A header and its body. */
static void add_record(struct bytes *wire, size_t length)
{
    const unsigned char header[] = {23, 3, 3, (unsigned char)(length >> 8), (unsigned char)length};

    bytes_append(wire, header, sizeof header);
    /* Of bytes that would be long headers themselves. */
    for (size_t i = 0; i < length; i++)
        bytes_append(wire, "\xff", 1);
}

START_TEST(records_are_counted_however_they_are_cut)
{
    const size_t lengths[] = {1, 0, 16384, 300, 0, 0, 2};
    struct bytes wire = {0};

    for (size_t i = 0; i < COUNT_OF(lengths); i++)
        add_record(&wire, lengths[i]);
    for (size_t step = 1; step <= wire.length; step = step < 40 ? step + 1 : step * 3) {
        struct afn__records records = {0};

        for (size_t done = 0; done < wire.length; done += step) {
            size_t rest = wire.length - done;

            afn__records_pass(&records, wire.data + done, rest < step ? rest : step);
        }
        require_equal(records.count, COUNT_OF(lengths));
    }
    bytes_free(&wire);
}
END_TEST

START_TEST(record_counts_when_its_last_byte_has_gone_by)
{
    struct afn__records records = {0};
    struct bytes wire = {0};

    add_record(&wire, 100);
    add_record(&wire, 0);
    afn__records_pass(&records, wire.data, 104);
    require_equal(records.count, 0);
    afn__records_pass(&records, wire.data + 104, 1);
    require_equal(records.count, 1);
    afn__records_pass(&records, wire.data + 105, 4);
    require_equal(records.count, 1);
    afn__records_pass(&records, wire.data + 109, 0);
    require_equal(records.count, 1);
    afn__records_pass(&records, wire.data + 109, 1);
    require_equal(records.count, 2);
    bytes_free(&wire);
}
END_TEST

int main(void)
{
    const struct harness_case cases[] = {
        {records_are_counted_however_they_are_cut, 1},
        {record_counts_when_its_last_byte_has_gone_by, 1},
    };

    return harness_main("records", cases, COUNT_OF(cases));
}
