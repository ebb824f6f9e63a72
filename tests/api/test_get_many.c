/* Many gets in one call give what single gets give, key by key: whatever the values are, wherever they lie, and whether
 * or not they are in memory. */
#include "include/cairn.h"
#include "src/base/check.h"
#include "tests/support/far_reads.h"
#include "tests/support/os_wrap.h"
#include "tests/support/rung.h"
#include "tests/support/sim_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ITEMS_MAX 600u
#define BUFFER_BYTES ((size_t)320 << 10)

static const size_t sizes[] = {0, 1, 700, 4096, 5000, 16500, 65536, 70000, 200000, SIM_BOX_PAYLOAD_MAX, 300000};
#define SIZES (sizeof sizes / sizeof sizes[0])

/* ---- A call, and what single calls say to the same ---- */

typedef struct request {
    char keys[ITEMS_MAX][24];
    cairn_get_item items[ITEMS_MAX];
    cairn_error errors[ITEMS_MAX];
    size_t count;
    cairn_snapshot *snapshot; /* NULL: none */
} request;

static request r; /* large */

static void clear(void) { memset(&r, 0, sizeof r); }

static cairn_get_item *ask(const char *key) {
    CHECK(r.count < ITEMS_MAX);
    cairn_get_item *item = &r.items[r.count];
    (void)snprintf(r.keys[r.count], sizeof r.keys[0], "%s", key);
    *item = (cairn_get_item){.key = r.keys[r.count], .key_size = strlen(key), .error = &r.errors[r.count]};
    r.count++;
    return item;
}

static void call(cairn *store) {
    cairn_get_many_options o = {.struct_size = sizeof o, .snapshot = r.snapshot};
    cairn_error error;
    assert_int_equal(cairn_get_many(store, r.items, sizeof r.items[0], r.count, &o, &error), CAIRN_OK);
}

static void free_values(void) {
    for (size_t i = 0; i < r.count; i++) {
        if (r.items[i].buf == NULL) cairn_free(r.items[i].value);
        r.items[i].value = NULL;
    }
}

static int get_alone(cairn *store, const cairn_get_item *item, void **value, size_t *size, cairn_error *error) {
    if (r.snapshot != NULL) return cairn_snapshot_get(r.snapshot, item->key, item->key_size, value, size, error);
    return cairn_get(store, item->key, item->key_size, value, size, error);
}

static void expect_alike(cairn *store, size_t i) {
    const cairn_get_item *item = &r.items[i];
    void *value = NULL;
    size_t size = 0;
    cairn_error error = {0};
    int code = get_alone(store, item, &value, &size, &error);
    assert_int_equal(item->code, code);
    assert_int_equal(r.errors[i].code, error.code);
    assert_string_equal(r.errors[i].message, error.message);
    assert_int_equal(item->value_size, size);
    assert_true((item->value != NULL) == (code == CAIRN_OK));
    if (code == CAIRN_OK && size > 0) assert_memory_equal(item->value, value, size);
    cairn_free(value);
}

/* The request, with values in allocations and in buffers. */
static void expect_as_alone(cairn *store) {
    static uint8_t *buffers;
    if (buffers == NULL) buffers = malloc(ITEMS_MAX * BUFFER_BYTES);
    for (int into = 0; into < 2; into++) {
        memset(r.errors, 0, sizeof r.errors);
        for (size_t i = 0; i < r.count; i++) {
            r.items[i].buf = into != 0 ? buffers + i * BUFFER_BYTES : NULL;
            r.items[i].cap = into != 0 ? BUFFER_BYTES : 0;
        }
        call(store);
        for (size_t i = 0; i < r.count; i++) {
            if (into != 0 && r.items[i].code == CAIRN_OK) assert_ptr_equal(r.items[i].value, r.items[i].buf);
            expect_alike(store, i);
        }
        free_values();
    }
}

static void expect_as_alone_in_every_way(const sim_box *b) {
    for (int way = 0; way < READS_WAYS; way++) {
        far_reads_put(sim_os(b->disk), way);
        expect_as_alone(b->store);
    }
    far_reads_put(sim_os(b->disk), READS_NEAR);
}

/* ---- Values of every kind ---- */

#define KEYS 66u

static void name_of(char key[24], unsigned i) { (void)snprintf(key, 24, "key %u", i); }

/* The first bytes of a value that is long enough, which no other one has. */
static size_t mark_of(char mark[24], unsigned i) { return (size_t)snprintf(mark, 24, "value %u;", i); }

static void fill(cairn *store) {
    static uint8_t value[BUFFER_BYTES];
    char key[24], mark[24];
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t rng = i;
        size_t size = sizes[i % SIZES], mark_size = mark_of(mark, i);
        memcpy(value, random_window(&rng, size), size);
        if (size >= mark_size) memcpy(value, mark, mark_size);
        name_of(key, i);
        if (i % 7 == 3) {
            put_for(store, key, value, size, 1000000);
        } else {
            put_text(store, key, value, size);
        }
    }
    put_text(store, "deleted", "x", 1);
    delete_text(store, "deleted");
    put_for(store, "short-lived", "y", 1, 10);
}

/* All of them, some twice, and some that are not there. */
static void ask_for_everything(void) {
    char key[24];
    clear();
    for (unsigned i = 0; i < KEYS; i++) {
        name_of(key, i * 37 % KEYS);
        (void)ask(key);
        if (i % 5 == 0) (void)ask("absent");
        if (i % 9 == 0) (void)ask("key 1");
    }
    (void)ask("deleted");
    (void)ask("short-lived");
}

static void check_store(sim_box *b) {
    sim_box_reopen(b);
    fill(b->store);
    ask_for_everything();
    expect_as_alone_in_every_way(b);
    sim_clock_advance(b->disk, 20); /* now that one has expired */
    expect_as_alone_in_every_way(b);
    sim_box_reopen_read_only(b);
    expect_as_alone_in_every_way(b);
}

static void every_kind_of_value_comes_as_by_a_get_of_its_own(void **state) { check_store(*state); }

static void compressed_values_too(void **state) {
    sim_box *b = *state;
    b->options.compression = CAIRN_COMPRESSION_ZSTD;
    sim_box_reopen(b);
    static char text[100000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "compress me "[i % 12];
    put_text(b->store, "short", text, 500);
    put_text(b->store, "middling", text, 20000);
    put_text(b->store, "long", text, sizeof text);
    check_store(b);
    (void)ask("short");
    (void)ask("middling");
    (void)ask("long");
    expect_as_alone_in_every_way(b);
}

static void values_that_a_cache_keeps_too(void **state) {
    sim_box *b = *state;
    b->options.cache_bytes = (uint64_t)1 << 20;
    check_store(b);
}

static void resident_values_too(void **state) {
    sim_box *b = *state;
    b->options.cache_bytes = UINT64_MAX;
    check_store(b);
}

static void keys_whose_hashes_collide_too(void **state) {
    sim_box *b = *state;
    b->hash_mask = 3;
    check_store(b);
}

static void values_that_are_mapped_too(void **state) {
    sim_box *b = *state;
    fill(b->store);
    ask_for_everything();
    for (int i = 0; i < 40; i++)
        expect_as_alone(b->store);
    expect_as_alone_in_every_way(b);
}

static void a_snapshot_has_what_was_there_at_its_opening(void **state) {
    sim_box *b = *state;
    fill(b->store);
    ask_for_everything();
    r.snapshot = snapshot_of(b->store);
    put_text(b->store, "key 1", "other", 5);
    put_text(b->store, "absent", "here now", 8);
    delete_text(b->store, "key 4");
    sim_clock_advance(b->disk, 20);
    expect_as_alone_in_every_way(b);
    cairn_snapshot_close(r.snapshot);
}

/* ---- Failures of single keys ---- */

static void a_buffer_that_is_too_small_is_left_alone_and_told_the_size(void **state) {
    sim_box *b = *state;
    fill(b->store);
    for (int way = 0; way < READS_WAYS; way++) {
        char small[8] = "before", fits[700];
        far_reads_put(sim_os(b->disk), way);
        clear();
        *ask("key 2") = (cairn_get_item){.key = "key 2", .key_size = 5, .buf = fits, .cap = sizeof fits};
        *ask("key 2") = (cairn_get_item){.key = "key 2", .key_size = 5, .buf = small, .cap = sizeof small};
        call(b->store);
        assert_int_equal(r.items[0].code, CAIRN_OK);
        assert_int_equal(r.items[0].value_size, 700);
        assert_int_equal(r.items[1].code, CAIRN_TOO_SMALL);
        assert_int_equal(r.items[1].value_size, 700);
        assert_null(r.items[1].value);
        assert_string_equal(small, "before");
    }
}

static void a_key_that_cannot_be_one_fails_alone(void **state) {
    sim_box *b = *state;
    fill(b->store);
    clear();
    (void)ask("key 1");
    ask("")->key = "";
    ask("key 1")->key = NULL;
    ask("key 1")->key_size = CAIRN_KEY_SIZE_MAX + 1;
    ask("key 1")->cap = 5; /* of no buffer */
    call(b->store);
    const int codes[] = {CAIRN_OK, CAIRN_INVALID, CAIRN_INVALID, CAIRN_TOO_BIG, CAIRN_INVALID};
    for (size_t i = 0; i < r.count; i++) {
        assert_int_equal(r.items[i].code, codes[i]);
        assert_int_equal(r.errors[i].code, codes[i]);
        assert_true((r.items[i].value != NULL) == (codes[i] == CAIRN_OK));
    }
    free_values();
}

static uint64_t locate(sim_box *b, unsigned i, char name[SIM_NAME_SIZE]) {
    char mark[24];
    uint64_t offset;
    sim_box_locate(b, ".seg", mark, mark_of(mark, i), name, &offset);
    return offset;
}

static void poke(sim_box *b, unsigned i) {
    char name[SIM_NAME_SIZE];
    uint64_t offset = locate(b, i, name);
    assert_true(sim_file_poke(b->disk, SIM_BOX_STORE, name, offset, 1));
}

static void a_damaged_value_fails_alone(void **state) {
    sim_box *b = *state;
    fill(b->store);
    for (unsigned i = 2; i < 7; i += 2)
        poke(b, i);
    ask_for_everything();
    expect_as_alone_in_every_way(b);
    far_reads_put(sim_os(b->disk), READS_BY_TURNS);
    call(b->store);
    size_t damaged = 0, good = 0;
    for (size_t i = 0; i < r.count; i++) {
        damaged += r.items[i].code == CAIRN_CORRUPT;
        good += r.items[i].code == CAIRN_OK;
    }
    assert_int_equal(damaged, 3);
    assert_true(good > KEYS / 2);
    free_values();
}

static uint64_t bad_offset; /* of every file: it cannot be read */

static bool is_bad(uint64_t offset, size_t size) { return bad_offset >= offset && bad_offset - offset < size; }

static int bad_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    return is_bad(offset, size) ? -EIO : sim_calls()->file_read(file, buf, size, offset, got);
}

static int bad_readv(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    return is_bad(offset, os_pieces_bytes(iov, count)) ? -EIO : sim_calls()->file_readv(file, iov, count, offset, got);
}

static void a_value_that_the_device_does_not_give_fails_alone(void **state) {
    sim_box *b = *state;
    char name[SIM_NAME_SIZE];
    b->options.no_mapped_reads = true;
    sim_box_reopen(b);
    fill(b->store);
    bad_offset = locate(b, 3, name);
    os_override(sim_os(b->disk), &(os){.file_read = bad_read, .file_readv = bad_readv});
    far_reads_put(sim_os(b->disk), READS_FAR);
    ask_for_everything();
    expect_as_alone(b->store);
    call(b->store);
    size_t failed = 0;
    for (size_t i = 0; i < r.count; i++)
        failed += r.items[i].code == CAIRN_IO;
    assert_true(failed >= 1 && failed < KEYS / 2);
    free_values();
}

static void a_device_that_gives_nothing_fails_every_key(void **state) {
    sim_box *b = *state;
    fill(b->store);
    ask_for_everything();
    sim_fault_set(b->disk, &(sim_fault){.kinds = SIM_READ | SIM_MAP, .error = -EIO, .sticky = true});
    for (int way = 0; way < READS_WAYS; way++) {
        far_reads_put(sim_os(b->disk), way);
        call(b->store);
        for (size_t i = 0; i < r.count; i++)
            assert_true(r.items[i].code == CAIRN_IO || r.items[i].code == CAIRN_NOT_FOUND);
    }
    sim_fault_set(b->disk, NULL);
}

/* ---- How much is asked for ---- */

static uint64_t asked_before_reading;

static int first_readv(os_file *file, const struct iovec *iov, int count, uint64_t offset, size_t *got) {
    if (asked_before_reading == 0) asked_before_reading = far_reads_refused();
    return sim_calls()->file_readv(file, iov, count, offset, got);
}

static int first_read(os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    if (asked_before_reading == 0) asked_before_reading = far_reads_refused();
    return sim_calls()->file_read(file, buf, size, offset, got);
}

/* So many values of one size, far away. */
static uint64_t asked_ahead(sim_box *b, size_t count, size_t size) {
    char key[24];
    b->options.no_mapped_reads = true;
    sim_box_reopen(b);
    clear();
    for (unsigned i = 0; i < count; i++) {
        uint64_t rng = i;
        name_of(key, i);
        put_text(b->store, key, random_window(&rng, size), size);
        (void)ask(key);
    }
    sim_box_reopen(b); /* all files are closed */
    call(b->store);    /* and all open */
    free_values();
    asked_before_reading = 0;
    os_override(sim_os(b->disk), &(os){.file_read = first_read, .file_readv = first_readv});
    far_reads_put(sim_os(b->disk), READS_FAR);
    call(b->store);
    assert_int_equal(far_reads_refused(), count);
    free_values();
    return asked_before_reading;
}

static void no_more_than_128_values_are_asked_for_ahead(void **state) {
    assert_int_equal(asked_ahead(*state, 300, 1000), 128);
}

static void no_more_than_8_mib_are_asked_for_ahead(void **state) {
    assert_int_equal(asked_ahead(*state, 100, 200000), ((uint64_t)8 << 20) / (200000 + 128) + 1);
}

static void what_is_in_memory_costs_one_call_each(void **state) {
    sim_box *b = *state;
    char key[24];
    b->options.no_mapped_reads = true;
    sim_box_reopen(b);
    clear();
    for (unsigned i = 0; i < 50; i++) {
        name_of(key, i);
        put_text(b->store, key, random_pool(), 3000);
        (void)ask(key);
        (void)ask("absent");
    }
    far_reads_put(sim_os(b->disk), READS_NEAR);
    sim_box_count(b, SIM_READ);
    call(b->store);
    assert_int_equal(far_reads_asked(), 50);
    assert_int_equal(sim_box_counted(b), 50);
    free_values();
}

/* ---- Arguments ---- */

static int call_with(cairn *store, void *items, size_t item_size, size_t count, const cairn_get_many_options *o) {
    cairn_error error = {0};
    int code = cairn_get_many(store, items, item_size, count, o, &error);
    assert_int_equal(error.code, code);
    return code;
}

static void a_call_that_makes_no_sense_touches_no_item(void **state) {
    sim_box *b = *state;
    put_text(b->store, "k", "v", 1);
    struct {
        cairn_get_item item;
        uint64_t later; /* of another version */
    } longer[2] = {{.item = {.key = "k", .key_size = 1, .code = 7}}, {.item = {.key = "k", .key_size = 1, .code = 7}}};
    cairn_get_many_options o = {.struct_size = 0};
    const size_t size = sizeof(cairn_get_item);
    assert_int_equal(call_with(b->store, longer, size - _Alignof(cairn_get_item), 2, NULL), CAIRN_INVALID);
    assert_int_equal(call_with(b->store, longer, size + 1, 2, NULL), CAIRN_INVALID); /* no multiple */
    assert_int_equal(call_with(b->store, NULL, size, 2, NULL), CAIRN_INVALID);
    assert_int_equal(call_with(b->store, longer, sizeof longer[0], 2, &o), CAIRN_INVALID);
    assert_int_equal(call_with(NULL, longer, sizeof longer[0], 2, NULL), CAIRN_INVALID);
    longer[1].later = 1;
    assert_int_equal(call_with(b->store, longer, sizeof longer[0], 2, NULL), CAIRN_INVALID);
    assert_int_equal(longer[0].item.code, 7);
    longer[1].later = 0;
    assert_int_equal(call_with(b->store, longer, sizeof longer[0], 2, NULL), CAIRN_OK);
    assert_int_equal(longer[1].item.code, CAIRN_OK);
    assert_memory_equal(longer[1].item.value, "v", 1);
    cairn_free(longer[0].item.value);
    cairn_free(longer[1].item.value);
    assert_int_equal(call_with(b->store, NULL, size, 0, NULL), CAIRN_OK);
}

static void a_snapshot_of_another_handle_is_refused(void **state) {
    sim_box *b = *state, *other;
    void *second = NULL;
    assert_int_equal(sim_box_setup(&second), 0);
    other = second;
    cairn_get_many_options o = {.struct_size = sizeof o, .snapshot = snapshot_of(other->store)};
    cairn_get_item item = {.key = "k", .key_size = 1};
    assert_int_equal(call_with(b->store, &item, sizeof item, 1, &o), CAIRN_INVALID);
    cairn_snapshot_close(o.snapshot);
    assert_int_equal(sim_box_teardown(&second), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_box_setup, sim_box_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_kind_of_value_comes_as_by_a_get_of_its_own),
        TEST(compressed_values_too),
        TEST(values_that_a_cache_keeps_too),
        TEST(resident_values_too),
        TEST(keys_whose_hashes_collide_too),
        TEST(values_that_are_mapped_too),
        TEST(a_snapshot_has_what_was_there_at_its_opening),
        TEST(a_buffer_that_is_too_small_is_left_alone_and_told_the_size),
        TEST(a_key_that_cannot_be_one_fails_alone),
        TEST(a_damaged_value_fails_alone),
        TEST(a_value_that_the_device_does_not_give_fails_alone),
        TEST(a_device_that_gives_nothing_fails_every_key),
        TEST(no_more_than_128_values_are_asked_for_ahead),
        TEST(no_more_than_8_mib_are_asked_for_ahead),
        TEST(what_is_in_memory_costs_one_call_each),
        TEST(a_call_that_makes_no_sense_touches_no_item),
        TEST(a_snapshot_of_another_handle_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
