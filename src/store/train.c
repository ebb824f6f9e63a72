/* Training a dictionary from the store's own small values. */
#include "src/base/status.h"
#include "src/store/store.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_MIN ((uint64_t)64) /* less has nothing to compress */
#define RECORD_MAX (DICTIONARY_VALUE_MAX + 4096)
#define SAMPLES_MAX ((size_t)32768)
#define SAMPLE_BYTES_PER_BYTE 100u         /* of the dictionary: what zstd's authors advise */
#define SAMPLE_BYTES_MIN ((size_t)8 << 20) /* so that a small one is tried on enough as well */
#define HELD_BACK 5u                       /* one value in so many is not learned from, but tried on */
#define GAIN_MIN 32u                       /* worth having from one part in so many on */

/* Values one behind the other. */
typedef struct values {
    uint8_t *bytes;
    size_t *sizes;
    size_t count, used, capacity;
} values;

typedef struct training {
    cairn *store;
    cairn_error *error;
    location *chosen; /* a uniform choice among all records of a fitting length */
    size_t count;
    uint64_t seen, random;
    values lessons, trials;
} training;

static int no_memory(cairn_error *error) { return status_set(error, CAIRN_NO_MEMORY, "no memory to train"); }

/* ---- Choosing ---- */

/* xorshift64: Marsaglia, "Xorshift RNGs", 2003. */
static uint64_t next_random(training *t) {
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return t->random;
}

/* Reservoir sampling: Vitter's algorithm R, 1985. */
static int choose(void *ctx, uint64_t hash, location where) {
    training *t = ctx;
    (void)hash;
    if (location_holds(where) == LOCATION_STREAM || location_units(where) * UNIT_BYTES > RECORD_MAX) return 0;
    t->seen++;
    if (t->count < SAMPLES_MAX) {
        t->chosen[t->count++] = where;
    } else {
        uint64_t at = next_random(t) % t->seen;
        if (at < SAMPLES_MAX) t->chosen[at] = where;
    }
    return 0;
}

static void choose_all(training *t) {
    hash_index *index = t->store->index;
    for (unsigned shard = 0; shard < HASH_INDEX_SHARDS; shard++) {
        uint64_t any_hash = (uint64_t)shard << 54;
        hash_index_lock(index, any_hash);
        (void)hash_index_visit_shard(index, shard, choose, t);
        hash_index_unlock(index, any_hash);
    }
    for (size_t i = t->count; i > 1; i--) { /* so that a part of them is a choice as well */
        size_t j = next_random(t) % i;
        location swapped = t->chosen[i - 1];
        t->chosen[i - 1] = t->chosen[j];
        t->chosen[j] = swapped;
    }
}

/* ---- Reading ---- */

static int values_init(values *v, size_t capacity) {
    *v = (values){.bytes = malloc(capacity), .sizes = malloc(SAMPLES_MAX * sizeof *v->sizes), .capacity = capacity};
    return v->bytes != NULL && v->sizes != NULL ? CAIRN_OK : CAIRN_NO_MEMORY;
}

static void values_release(values *v) {
    free(v->bytes);
    free(v->sizes);
}

/* What is damaged or gone is passed over. */
static void read_value(training *t, location where, values *to) {
    vlog_head head;
    epoch_guard guard = epoch_enter(t->store->readers);
    if (vlog_head_read(t->store->log, where, STORE_HEAD_BYTES, &head, NULL) == CAIRN_OK) {
        uint64_t size = head.header.value_size;
        if (size >= VALUE_MIN && size <= DICTIONARY_VALUE_MAX && size <= to->capacity - to->used &&
            store_value_read(t->store, &head, to->bytes + to->used, size, 0, NULL) == CAIRN_OK) {
            to->sizes[to->count++] = size;
            to->used += size;
        }
    }
    vlog_head_release(&head);
    epoch_exit(t->store->readers, guard);
}

static void read_values(training *t) {
    for (size_t i = 0; i < t->count; i++) {
        read_value(t, t->chosen[i], i % HELD_BACK == 0 ? &t->trials : &t->lessons);
    }
}

/* ---- Trying ---- */

static int packed_bytes(const values *v, const pack_options *o, uint64_t *bytes) {
    packer *p = NULL;
    const uint8_t *next = v->bytes;
    int rc = packer_new(&p);
    *bytes = 0;
    for (size_t i = 0; rc == CAIRN_OK && i < v->count; i++) {
        packed result;
        rc = pack_value(p, o, next, v->sizes[i], &result);
        *bytes += result.codec == CODEC_RAW ? v->sizes[i] : result.size;
        packed_release(&result);
        next += v->sizes[i];
    }
    packer_free(p);
    return rc;
}

static int try_out(training *t, const dictionary *d, cairn_train_result *result) {
    pack_options o = {.level = t->store->options.compression_level};
    result->samples = t->trials.count;
    result->value_bytes = t->trials.used;
    int rc = packed_bytes(&t->trials, &o, &result->plain_bytes);
    o.dictionary = vlog_current_dictionary(t->store->log);
    if (rc == CAIRN_OK) rc = packed_bytes(&t->trials, &o, &result->before_bytes);
    o.dictionary = d;
    if (rc == CAIRN_OK) rc = packed_bytes(&t->trials, &o, &result->dictionary_bytes);
    return rc == CAIRN_OK ? rc : no_memory(t->error);
}

/* ---- The whole ---- */

static int install(training *t, const void *content, size_t size, cairn_train_result *result) {
    vlog *log = t->store->log;
    const dictionary *d = NULL;
    int rc = vlog_dictionary_make(log, content, size, &result->id, &d, t->error);
    if (rc != CAIRN_OK) return rc;
    rc = try_out(t, d, result);
    uint64_t best = min_u64(result->plain_bytes, result->before_bytes);
    bool worth_it = rc == CAIRN_OK && result->dictionary_bytes + best / GAIN_MIN < best;
    if (worth_it) rc = vlog_dictionary_install(log, result->id, d, t->error);
    result->installed = worth_it && rc == CAIRN_OK && vlog_current_dictionary(log) == d;
    /* After a failure nobody knows what the manifest names; the next open does. */
    if (rc == CAIRN_OK && !result->installed) vlog_dictionary_discard(log, result->id);
    if (!result->installed) result->id = 0;
    return rc;
}

static int train(training *t, size_t capacity, cairn_train_result *result) {
    size_t sample_bytes = max_u64(capacity * SAMPLE_BYTES_PER_BYTE, SAMPLE_BYTES_MIN), size = 0;
    uint8_t *content = malloc(capacity);
    t->chosen = malloc(SAMPLES_MAX * sizeof *t->chosen);
    int rc = content != NULL && t->chosen != NULL ? CAIRN_OK : CAIRN_NO_MEMORY;
    if (rc == CAIRN_OK) rc = values_init(&t->lessons, sample_bytes);
    if (rc == CAIRN_OK) rc = values_init(&t->trials, sample_bytes / (HELD_BACK - 1));
    if (rc == CAIRN_OK) {
        choose_all(t);
        read_values(t);
        rc = dictionary_train(t->lessons.bytes, t->lessons.sizes, (unsigned)t->lessons.count, content, capacity, &size,
                              t->error);
        if (rc == CAIRN_OK) rc = install(t, content, size, result);
    } else {
        (void)no_memory(t->error);
    }
    values_release(&t->lessons);
    values_release(&t->trials);
    free(t->chosen);
    free(content);
    return rc;
}

int cairn_train(cairn *store, const cairn_train_options *options, cairn_train_result *result, cairn_error *error) {
    cairn_train_options o;
    cairn_train_result made = {0};
    training t = {.store = store, .error = error, .random = 0x9e3779b97f4a7c15u};
    int rc = store_check_write(store, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&o, sizeof o, options, error);
    if (rc == CAIRN_OK) rc = store_copy_result(result, &made, sizeof made, error);
    if (rc != CAIRN_OK) return rc;
    size_t capacity = o.dictionary_bytes == 0 ? DICTIONARY_CONTENT_DEFAULT : o.dictionary_bytes;
    if (capacity < DICTIONARY_CONTENT_MIN || capacity > DICTIONARY_CONTENT_MAX) {
        return status_set(error, CAIRN_INVALID, "a dictionary has %zu to %zu bytes", DICTIONARY_CONTENT_MIN,
                          DICTIONARY_CONTENT_MAX);
    }
    rc = train(&t, capacity, &made);
    return rc == CAIRN_OK ? store_copy_result(result, &made, sizeof made, error) : rc;
}
