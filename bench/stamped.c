#include "bench/stamped.h"

#include "bench/bench_common.h"

#include <stdlib.h>
#include <string.h>

#define HALF_BLOCK ((size_t)1024)

typedef struct stamp {
    uint64_t key, version;
} stamp;
_Static_assert(sizeof(stamp) == STAMP_SIZE, "values shorter than two stamps");

stamped stamped_new(size_t size, bool half, uint64_t seed) {
    stamped s = {.bytes = allocate_pages(size), .size = size};
    random_fill(s.bytes, size, seed);
    for (size_t at = HALF_BLOCK / 2; half && at + HALF_BLOCK / 2 <= size; at += HALF_BLOCK) {
        memset(s.bytes + at, 0, HALF_BLOCK / 2);
    }
    return s;
}

void stamped_free(stamped *s) { free(s->bytes); }

const char *stamped_value(stamped *s, uint64_t key, uint64_t version) {
    stamp mark = {.key = key, .version = version};
    memcpy(s->bytes, &mark, sizeof mark);
    memcpy(s->bytes + s->size - sizeof mark, &mark, sizeof mark);
    return s->bytes;
}

bool stamped_is(stamped *s, uint64_t key, uint64_t version, const void *value, size_t size) {
    return size == s->size && memcmp(stamped_value(s, key, version), value, size) == 0;
}

bool stamped_begins(uint64_t key, uint64_t version, const void *value) {
    stamp mark = {.key = key, .version = version};
    return memcmp(&mark, value, sizeof mark) == 0;
}
