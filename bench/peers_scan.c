/* Scans in the order of keys, which are put in random order. Every value is compared once, byte by byte, before the
 * time is taken; within it each key is looked at, and all of a value is read once. cairn, LevelDB and the first RocksDB
 * verify checksums within the time, too.
 *
 * Warm: RANGE keys from a random one on, among those few that stay in every cache; what is counted is the values'
 * bytes, or, where only keys are asked for, keys. Cold: all values from the first on, after the page cache was dropped
 * and the store opened, which is not measured. */
#include "bench/peers_values.h"

#include <string.h>

#define RANGE 100

/* What is to be met. */
typedef struct expected {
    values *v;
    uint64_t next, end; /* numbers of keys */
    double until;       /* when to stop; 0: at the end */
    bool all_bytes;
} expected;

static bool meet(void *ctx, const char *key, size_t key_size, const void *value, size_t value_size) {
    expected *x = ctx;
    const cell *c = x->v->c;
    char wanted[BENCH_KEY_SIZE];
    if (key_size != key_of(wanted, x->next) || memcmp(key, wanted, key_size) != 0) {
        die(c->engine->name, "a scan gives another key");
    }
    if (x->all_bytes) values_must_be(x->v, x->next, value, value_size);
    if (value != NULL) values_read_once(value, value_size);
    if (value != NULL && (value_size != c->value_size || !stamped_begins(x->next, 1, value))) {
        die(c->engine->name, "a value is another one's");
    }
    x->next++;
    return x->next < x->end && (x->until == 0 || now_s() < x->until);
}

/* From that key on; returns how many keys were met. */
static uint64_t scan_from(expected x, bool with_values) {
    char key[BENCH_KEY_SIZE];
    uint64_t first = x.next;
    size_t key_size = key_of(key, first);
    x.v->c->engine->scan(x.v->session, key, key_size, with_values, meet, &x);
    if (x.next < x.end && x.until == 0) die(x.v->c->engine->name, "a scan lacks keys");
    return x.next - first;
}

/* Keys a second. */
static double warm_rate(values *v, bool with_values) {
    const cell *c = v->c;
    uint64_t among = count_of(c->plan, c->value_size, c->plan->warm_bytes), seed = 1, keys = 0;
    uint64_t range = among < RANGE ? among : RANGE;
    double begin = now_s(), end = begin;
    while (end < begin + c->plan->seconds) {
        uint64_t first = random_next(&seed) % (among - range + 1);
        keys += scan_from((expected){.v = v, .next = first, .end = first + range}, with_values);
        end = now_s();
    }
    return (double)keys / (end - begin);
}

void values_scan_warm(values *v) {
    const cell *c = v->c;
    if (c->engine->scan == NULL) return;
    (void)scan_from((expected){.v = v, .end = c->count, .all_bytes = true}, true);
    (void)warm_rate(v, true);
    c->out[SCAN] = warm_rate(v, true) * (double)c->value_size / (double)MIB;
    c->out[SCAN_KEYS] = warm_rate(v, false) / 1000;
}

void values_scan_cold(values *v) {
    const cell *c = v->c;
    if (c->engine->scan == NULL || !values_open_cold(v)) return;
    double begin = now_s();
    uint64_t met = scan_from((expected){.v = v, .end = c->count, .until = begin + c->plan->seconds}, true);
    c->out[SCAN_COLD] = (double)(met * c->value_size) / (double)MIB / (now_s() - begin);
    values_close(v);
}
