/* The seed of checksums in files of the index: those of another store do not fit. Format: index/FORMAT.md. */
#ifndef CAIRN_INDEX_STORE_SEED_H
#define CAIRN_INDEX_STORE_SEED_H

#include "src/base/codec.h"

#include <stdint.h>

static inline uint64_t store_seed(const uint8_t store_id[16]) { return le64_get(store_id) ^ le64_get(store_id + 8); }

#endif
