#include "src/store/read_ahead.h"

#include "src/base/check.h"

#include <stdlib.h>

size_t read_ahead_add(read_ahead *a, uint64_t bytes) {
    CHECK(read_ahead_count(a) < READ_AHEAD_RECORDS);
    size_t place = a->behind++ % READ_AHEAD_RECORDS;
    a->asked[place] = bytes;
    a->bytes += bytes;
    return place;
}

size_t read_ahead_take(read_ahead *a) {
    CHECK(read_ahead_count(a) > 0);
    size_t place = a->first++ % READ_AHEAD_RECORDS;
    a->bytes -= a->asked[place];
    return place;
}

location read_ahead_place(cairn *store, store_moment moment, uint64_t hash) {
    location few[STORE_CANDIDATES_FEW], *more, where = LOCATION_NONE;
    size_t count;
    bool saved;
    if (store_snapshot_candidates(store, moment, hash, few, &more, &count, &saved) != CAIRN_OK) return where;
    if (count == 1) where = few[0];
    free(more);
    return where;
}
