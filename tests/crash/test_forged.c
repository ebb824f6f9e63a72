/* Files whose checksums are right and whose contents are not: one field at a time gets an extreme value, and every
 * checksum above it is made anew. What a key then gives cannot be told; but nothing crashes, hangs or asks for memory
 * that the files do not account for, and every failure has a code and a message.
 *
 * CAIRN_SEED=number runs the case of that number alone.
 */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "tests/support/rung.h"
#include "tests/support/specimen.h"
#include "tests/support/watch.h"
#include "vlog/footer.h"
#include "vlog/record.h"
#include "vlog/segment.h"
#include "vlog/value_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define IDENTITY_STORE_ID 16u
#define IDENTITY_SALT 48u
#define MANIFEST_HEADER 128u
#define MANIFEST_ROW 96u
#define ROOT_HEAD 128u
#define ROOT_ROW 32u
#define SLOT 16u

typedef struct forgery {
    const specimen *s;
    uint64_t salt, root_seed;
    uint8_t *bytes[SPECIMEN_FILES]; /* copies of the files */
} forgery;

static int file_named(const specimen *s, const char *name) {
    for (unsigned i = 0; i < s->file_count; i++) {
        if (strcmp(s->files[i].name, name) == 0) return (int)i;
    }
    return -1;
}

/* ---- Making checksums anew: from the inside out, by the layout before the forgery ---- */

static void reseal_record(const forgery *g, const specimen_record *r, uint64_t seed) {
    uint8_t *b = g->bytes[r->file], *h = b + r->begin;
    uint32_t key_size = (uint32_t)g->s->keys[r->key].size;
    if (r->value_size > 0 && r->value_size <= FRAME_BYTES) {
        le64_put(h + record_table_offset(key_size), checksum(b + r->value_begin, r->value_size, 0));
    }
    le64_put(h, checksum(h + 8, r->value_begin - r->begin - 8, seed + r->begin));
}

static void reseal_segment(const forgery *g, unsigned file) {
    const specimen_file *f = &g->s->files[file];
    uint8_t *b = g->bytes[file];
    uint64_t seed = file_seed(g->salt, f->id, le64_get(f->bytes + 40));
    le64_put(b + 4088, checksum(b, 4088, seed));
    for (size_t i = 0; i < g->s->steps; i++) {
        if (g->s->records[i].file == file) reseal_record(g, &g->s->records[i], seed);
    }
    if (f->open) return;
    uint8_t *t = b + f->size - FOOTER_TRAILER_BYTES;
    uint64_t entries = le64_get(f->bytes + f->size - FOOTER_TRAILER_BYTES + 24);
    le64_put(t + 32, checksum(b + f->record_end, entries, seed + 2));
    le64_put(t, checksum(t + 8, FOOTER_TRAILER_BYTES - 8, seed + 1));
}

static void reseal_manifest(const forgery *g) {
    unsigned m = (unsigned)file_named(g->s, "MANIFEST");
    uint8_t *b = g->bytes[m];
    size_t size = g->s->files[m].size;
    for (size_t row = MANIFEST_HEADER; row + MANIFEST_ROW <= size; row += MANIFEST_ROW) {
        for (unsigned i = 0; i < g->s->file_count; i++) {
            const specimen_file *f = &g->s->files[i];
            if (!f->segment || f->open || f->id != le64_get(g->s->files[m].bytes + row)) continue;
            le64_put(b + row + 48, le64_get(g->bytes[i] + f->size - FOOTER_TRAILER_BYTES));
        }
    }
    le64_put(b, checksum(b + 8, size - 8, g->salt));
}

static void reseal_checkpoint(const forgery *g) {
    int root = file_named(g->s, "CHECKPOINT"), data = file_named(g->s, "CHECKPOINT.DATA");
    if (root < 0 || data < 0) return;
    uint8_t *b = g->bytes[root];
    const uint8_t *old = g->s->files[root].bytes;
    for (uint64_t i = 0; i < 1024; i++) {
        const uint8_t *row = old + ROOT_HEAD + i * ROOT_ROW;
        uint64_t slots = (uint64_t)le32_get(row + 8) * 8 + le32_get(row + 12);
        if (slots == 0) continue;
        uint64_t sum = checksum(g->bytes[data] + le64_get(row), slots * SLOT, g->root_seed + 1 + i);
        le64_put(b + ROOT_HEAD + i * ROOT_ROW + 24, sum);
    }
    size_t size = g->s->files[root].size;
    le64_put(b + size - 8, checksum(b, size - 8, g->root_seed));
}

/* ---- Cases ---- */

static const uint64_t extremes[] = {0,
                                    1,
                                    0x7f,
                                    0xffff,
                                    (uint64_t)1 << 20,
                                    ((uint64_t)1 << 31) - 1,
                                    UINT32_MAX,
                                    (uint64_t)1 << 40,
                                    (uint64_t)1 << 56,
                                    (uint64_t)1 << 63,
                                    UINT64_MAX - 63,
                                    UINT64_MAX};
#define EXTREMES (sizeof extremes / sizeof extremes[0])
#define VALUES (EXTREMES + 3) /* one more, one less, noise */

static uint64_t forged_value(unsigned which, uint64_t old, uint64_t *rng) {
    if (which < EXTREMES) return extremes[which];
    if (which == EXTREMES) return old + 1;
    return which == EXTREMES + 1 ? old - 1 : random_next(rng);
}

static void hold(bool good, const char *what, int rc, const cairn_error *error) {
    if (good) return;
    (void)fprintf(stderr, "%s: %d %s\n%s", what, rc, error->message, watch_text());
    fail();
}

static void use_keys(cairn *store, const specimen *s) {
    uint8_t buf[64];
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        const specimen_key *key = &s->keys[k];
        void *value = NULL;
        size_t size;
        cairn_view *view = NULL;
        cairn_error error = {0};
        int rc = cairn_get(store, key->bytes, key->size, &value, &size, &error);
        hold(rc == CAIRN_OK || rc == CAIRN_NOT_FOUND || rc == CAIRN_CORRUPT, "get", rc, &error);
        cairn_free(value);
        (void)cairn_read(store, key->bytes, key->size, 5, buf, sizeof buf, &size, NULL);
        if (cairn_view_open(store, key->bytes, key->size, &view, NULL) == CAIRN_OK) cairn_view_close(view);
    }
}

static void use_scan(cairn *store) {
    cairn_scan *scan = NULL;
    cairn_error error = {0};
    int rc = cairn_scan_open(store, NULL, &scan, &error);
    hold(rc == CAIRN_OK, "scan", rc, &error);
    for (int turns = 0; (rc = cairn_scan_next(scan, &error)) != CAIRN_DONE; turns++) {
        const void *value;
        size_t size;
        hold(turns < 10000 && (rc == CAIRN_OK || rc == CAIRN_CORRUPT), "scan", rc, &error);
        if (rc == CAIRN_OK) (void)cairn_scan_value(scan, &value, &size, NULL);
    }
    cairn_scan_close(scan);
}

/* Opens the store and calls everything. */
static void use(const specimen *s, sim_disk *disk, bool read_only) {
    cairn *store = NULL;
    cairn_error error = {0};
    cairn_verify_result result = {.struct_size = sizeof result};
    cairn_stats stats = {.struct_size = sizeof stats};
    int rc = specimen_open(s, disk, read_only, &store, &error);
    if (rc != CAIRN_OK) {
        bool told = error.code == rc && error.message[0] != '\0';
        hold(told && (rc == CAIRN_CORRUPT || rc == CAIRN_UNSUPPORTED), "open", rc, &error);
        return;
    }
    use_keys(store, s);
    use_scan(store);
    rc = cairn_verify(store, NULL, &result, &error);
    hold(rc == CAIRN_OK, "verify", rc, &error);
    rc = cairn_stats_get(store, &stats, &error);
    hold(rc == CAIRN_OK, "stats", rc, &error);
    for (unsigned k = 0; !read_only && k < 2; k++) {
        (void)cairn_put(store, s->keys[k].bytes, s->keys[k].size, "anew", 4, NULL, NULL);
        (void)cairn_delete(store, s->keys[k + 2].bytes, s->keys[k + 2].size, NULL, NULL);
    }
    (void)cairn_close(store);
}

static uint64_t field_get(const uint8_t *field, unsigned width) {
    return width == 1 ? field[0] : width == 4 ? le32_get(field) : le64_get(field);
}

static void field_put(uint8_t *field, unsigned width, uint64_t value) {
    if (width == 1) field[0] = (uint8_t)value;
    if (width == 4) le32_put(field, (uint32_t)value);
    if (width == 8) le64_put(field, value);
}

/* The specimen's disk with that value in that field. */
static sim_disk *forge(const forgery *g, unsigned file, uint64_t at, unsigned width, uint64_t value) {
    const specimen *s = g->s;
    for (unsigned i = 0; i < s->file_count; i++)
        memcpy(g->bytes[i], s->files[i].bytes, s->files[i].size);
    field_put(g->bytes[file] + at, width, value);
    for (unsigned i = 0; i < s->file_count; i++) {
        if (s->files[i].segment) reseal_segment(g, i);
    }
    reseal_manifest(g);
    reseal_checkpoint(g);
    sim_disk *disk = sim_clone(s->disk);
    for (unsigned i = 0; i < s->file_count; i++) {
        if (memcmp(g->bytes[i], s->files[i].bytes, s->files[i].size) == 0) continue;
        sim_file_write(disk, SPECIMEN_STORE, s->files[i].name, g->bytes[i], s->files[i].size);
    }
    return disk;
}

static void forge_and_use(const forgery *g, unsigned file, uint64_t at, unsigned width, unsigned which, uint64_t *rng) {
    uint64_t old = field_get(g->s->files[file].bytes + at, width);
    sim_disk *disk = forge(g, file, at, width, forged_value(which, old, rng));
    use(g->s, disk, true);
    use(g->s, disk, false);
    hold(sim_open_handles(disk) == 0, "files left open", 0, &(cairn_error){0});
    sim_free(disk);
}

typedef struct counter {
    uint64_t number, only, every, cases;
} counter;

/* Every field of every width in [from, to). */
static void forge_area(const forgery *g, counter *c, unsigned file, uint64_t from, uint64_t to) {
    static const unsigned widths[] = {1, 4, 8};
    for (uint64_t at = from; at < to; at++) {
        for (unsigned i = 0; i < 3; i++) {
            unsigned width = widths[i];
            if ((at - from) % width != 0 || at + width > to) continue;
            for (unsigned which = 0; which < VALUES; which++) {
                uint64_t number = c->number++, rng = number;
                if (c->only != UINT64_MAX ? number != c->only : random_next(&rng) % c->every != 0) continue;
                watch_case("case %llu: store '%s', %s: %u bytes at %llu, value %u\n", (unsigned long long)number,
                           g->s->plan.name, g->s->files[file].name, width, (unsigned long long)at, which);
                forge_and_use(g, file, at, width, which, &rng);
                c->cases++;
            }
        }
    }
}

static void forge_file(const forgery *g, counter *c, unsigned file) {
    const specimen_file *f = &g->s->files[file];
    if (strcmp(f->name, "MANIFEST") == 0) forge_area(g, c, file, 8, f->size);
    if (strcmp(f->name, "CHECKPOINT.DATA") == 0) forge_area(g, c, file, 0, min_u64(f->size, 1024));
    if (strcmp(f->name, "CHECKPOINT") == 0) {
        uint64_t blob = ROOT_HEAD + 1024 * ROOT_ROW;
        forge_area(g, c, file, 0, ROOT_HEAD);
        for (uint64_t row = ROOT_HEAD; row < blob; row += ROOT_ROW) {
            if (le32_get(f->bytes + row + 8) != 0) forge_area(g, c, file, row, row + 24);
        }
        forge_area(g, c, file, blob, f->size - 8);
    }
    if (!f->segment) return;
    if (!f->open) forge_area(g, c, file, f->record_end, f->size);
    for (size_t i = 0; i < g->s->steps; i++) {
        const specimen_record *r = &g->s->records[i];
        if (r->file == file) forge_area(g, c, file, r->begin + 8, r->begin + RECORD_FIXED_BYTES + 8);
        bool named = r->file == file && r->value_size == VALUE_DESCRIPTOR_BYTES;
        if (named) forge_area(g, c, file, r->value_begin, r->value_begin + r->value_size);
    }
}

static const specimen_plan plans[] = {
    {.name = "killed", .hash_mask = UINT64_MAX, .checkpoint = true},
    {.name = "closed, hashes collide", .hash_mask = 1, .closed = true, .checkpoint = true},
    {.name = "killed, no checkpoint, hashes collide", .hash_mask = 0},
    {.name = "closed, value files", .hash_mask = UINT64_MAX, .closed = true, .files = true},
};

static void forgery_begin(forgery *g, specimen *s, size_t plan) {
    specimen_make(s, &plans[plan], 400 + plan);
    const uint8_t *identity = s->files[file_named(s, "CAIRN")].bytes;
    *g = (forgery){.s = s, .salt = le64_get(identity + IDENTITY_SALT)};
    g->root_seed = le64_get(identity + IDENTITY_STORE_ID) ^ le64_get(identity + IDENTITY_STORE_ID + 8);
    for (unsigned k = 0; k < s->file_count; k++) {
        g->bytes[k] = malloc(s->files[k].size + 1);
        assert_non_null(g->bytes[k]);
    }
}

static void forgery_end(forgery *g, specimen *s) {
    for (unsigned k = 0; k < s->file_count; k++)
        free(g->bytes[k]);
    specimen_release(s);
}

static void a_forged_field_never_crashes_hangs_or_takes_memory(void **state) {
    (void)state;
    static specimen s;
    forgery g;
    counter c = {.only = UINT64_MAX, .every = rung_choose(12, 200, 1)};
    (void)rung_seed(&c.only);
    watch_begin();
    clock_t begin = clock();
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        forgery_begin(&g, &s, i);
        for (unsigned k = 0; k < s.file_count; k++)
            forge_file(&g, &c, k);
        forgery_end(&g, &s);
    }
    watch_end();
    print_message("%llu of %llu cases, %.1f s\n", (unsigned long long)c.cases, (unsigned long long)c.number,
                  (double)(clock() - begin) / CLOCKS_PER_SEC);
}

/* ---- What it found, one by one ---- */

static int open_forged(const forgery *g, unsigned file, uint64_t at, uint64_t value, cairn **store, sim_disk **disk) {
    *disk = forge(g, file, at, 8, value);
    *store = NULL;
    return specimen_open(g->s, *disk, false, store, NULL);
}

/* Each of them made a put stop the process. */
static void counters_of_a_forged_manifest_are_refused(void **state) {
    (void)state;
    static specimen s;
    forgery g;
    cairn *store;
    sim_disk *disk;
    forgery_begin(&g, &s, 0);
    unsigned file = (unsigned)file_named(&s, "MANIFEST");
    static const struct {
        uint64_t at, value;
    } fields[] = {{80, 0} /* version ceiling */,
                  {80, UINT64_MAX},
                  {72, UINT64_MAX} /* next id */,
                  {MANIFEST_HEADER + 64, UINT64_MAX} /* end place of a sealed segment */};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        assert_int_equal(open_forged(&g, file, fields[i].at, fields[i].value, &store, &disk), CAIRN_CORRUPT);
        sim_free(disk);
    }
    forgery_end(&g, &s);
}

/* So did this. */
static void a_closed_log_with_forged_counters_is_replayed(void **state) {
    (void)state;
    static specimen s;
    forgery g;
    cairn *store;
    sim_disk *disk;
    forgery_begin(&g, &s, 1);
    uint64_t next_version = ROOT_HEAD + 1024 * ROOT_ROW + 24 + 24; /* behind the store's part of the blob */
    unsigned root = (unsigned)file_named(&s, "CHECKPOINT");
    assert_int_equal(open_forged(&g, root, next_version, 0, &store, &disk), CAIRN_OK);
    assert_int_equal(cairn_put(store, "k", 1, "v", 1, NULL, NULL), CAIRN_OK);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_free(disk);
    forgery_end(&g, &s);
}

/* Memory for the value was asked for before its file was looked at. */
static void the_size_in_a_record_is_compared_with_the_value_file_before_memory_is_taken(void **state) {
    (void)state;
    static specimen s;
    forgery g;
    cairn *store;
    sim_disk *disk;
    void *value;
    size_t size;
    forgery_begin(&g, &s, 3);
    size_t i = s.steps;
    while (s.values[s.state[i][s.records[i - 1].key]].file[0] == '\0')
        i--;
    const specimen_record *r = &s.records[i - 1];
    const specimen_key *key = &s.keys[r->key];
    assert_int_equal(s.state[s.steps][r->key], s.state[i][r->key]); /* it is the newest of its key */
    assert_int_equal(open_forged(&g, r->file, r->begin + 56, (uint64_t)1 << 50, &store, &disk), CAIRN_OK);
    assert_int_equal(cairn_get(store, key->bytes, key->size, &value, &size, NULL), CAIRN_CORRUPT);
    assert_int_equal(cairn_close(store), CAIRN_OK);
    sim_free(disk);
    forgery_end(&g, &s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forged_field_never_crashes_hangs_or_takes_memory),
        cmocka_unit_test(counters_of_a_forged_manifest_are_refused),
        cmocka_unit_test(a_closed_log_with_forged_counters_is_replayed),
        cmocka_unit_test(the_size_in_a_record_is_compared_with_the_value_file_before_memory_is_taken),
    };
    return cmocka_run_group_tests_name("forged", tests, NULL, NULL);
}
