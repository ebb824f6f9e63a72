/* Records that builds before FEATURE_ON_UNITS wrote, and this one only reads. Format: vlog/FORMAT.md, "Record". */
#ifndef CAIRN_TESTS_EARLIER_RECORDS_H
#define CAIRN_TESTS_EARLIER_RECORDS_H

#include "vlog/record.h"

/* What fills the rest of a block. */
void earlier_skip(uint8_t out[RECORD_SKIP_HEADER_BYTES], uint64_t units, uint64_t place, uint64_t durable_place,
                  uint64_t seed);

/* As record_layout, but a large record takes whole blocks, and its payload begins on one. */
void earlier_layout(record_header *header);

#endif
