#include "vlog/value_table.h"

#include "src/base/codec.h"
#include "src/base/status.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_PAGES 4u

void value_table_begin(value_table *t, const value_file_env *env, uint64_t id, size_t memory_max) {
    *t = (value_table){.dir = env->dir,
                       .id = id,
                       .seed = file_seed(env->salt, id, 0),
                       .codec = CODEC_RAW,
                       .capacity_max = max_u64(memory_max / VALUE_TABLE_PAGE_BYTES, 1)};
}

void value_table_remove(value_table *t) {
    char name[FILE_NAME_SIZE];
    if (t->file == NULL) return;
    file_name(name, t->id, "tab");
    (void)os_unlink(t->dir, name); /* one that stays is a leftover, which the next open removes */
}

void value_table_release(value_table *t) {
    if (t->file != NULL) os_file_close(t->file);
    free(t->pages);
}

static int table_error(const value_table *t, int rc, const char *what, cairn_error *error) {
    char name[FILE_NAME_SIZE];
    file_name(name, t->id, "tab");
    rc = status_os(error, rc, "%s: cannot %s", name, what);
    if (error != NULL) error->segment = t->id;
    return rc;
}

static void seal_pages(value_table *t, size_t count) {
    for (size_t i = 0; i < count; i++)
        value_page_seal(t->pages + i * VALUE_TABLE_PAGE_BYTES, t->spilled + i, t->seed);
}

/* Moves all pages, which are full, from memory to the .tab file. */
static int spill_pages(value_table *t, cairn_error *error) {
    int rc;
    if (t->file == NULL) {
        char name[FILE_NAME_SIZE];
        file_name(name, t->id, "tab");
        rc = os_file_open(t->dir, name, OS_CREATE | OS_EXCLUSIVE, &t->file);
        if (rc != 0) return table_error(t, rc, "create", error);
    }
    seal_pages(t, t->capacity);
    rc = os_file_write(t->file, t->pages, t->capacity * VALUE_TABLE_PAGE_BYTES, t->spilled * VALUE_TABLE_PAGE_BYTES);
    if (rc != 0) return table_error(t, rc, "write", error);
    t->spilled += t->capacity;
    return CAIRN_OK;
}

/* More room for pages, as far as the limit lets it grow. */
static int grow_pages(value_table *t, cairn_error *error) {
    size_t capacity = min_u64(t->capacity == 0 ? FIRST_PAGES : t->capacity * 2, t->capacity_max);
    uint8_t *pages = realloc(t->pages, capacity * VALUE_TABLE_PAGE_BYTES);
    if (pages == NULL)
        return value_os_error(error, -ENOMEM, t->id, VALUE_FILE_DATA_OFFSET + t->stored, "grow the table");
    t->pages = pages;
    t->capacity = capacity;
    return CAIRN_OK;
}

int value_table_add(value_table *t, uint64_t checksum, size_t stored_length, cairn_error *error) {
    const uint64_t in_page = value_page_frames(t->codec);
    uint64_t page = t->frames / in_page - t->spilled, slot = t->frames % in_page;
    if (slot == 0 && page == t->capacity) {
        int rc = t->capacity < t->capacity_max ? grow_pages(t, error) : spill_pages(t, error);
        if (rc != CAIRN_OK) return rc;
        page = t->frames / in_page - t->spilled;
    }
    uint8_t *bytes = t->pages + page * VALUE_TABLE_PAGE_BYTES, *entry = bytes + value_page_entry(t->codec, slot);
    if (slot == 0) {
        memset(bytes, 0, VALUE_TABLE_PAGE_BYTES);
        if (t->codec != CODEC_RAW) le64_put(bytes + VALUE_PAGE_FIRST, t->stored);
    }
    le64_put(entry, checksum);
    if (t->codec != CODEC_RAW) le32_put(entry + VALUE_ENTRY_LENGTH, (uint32_t)stored_length);
    t->frames++;
    t->stored += stored_length;
    return CAIRN_OK;
}

static int read_spilled(value_table *t, uint64_t first, uint8_t *out, size_t count, cairn_error *error) {
    size_t bytes = count * VALUE_TABLE_PAGE_BYTES, got = 0;
    int rc = os_file_read(t->file, out, bytes, first * VALUE_TABLE_PAGE_BYTES, &got);
    if (rc != 0) return table_error(t, rc, "read", error);
    bool valid = got == bytes;
    for (size_t i = 0; i < count && valid; i++)
        valid = value_page_valid(out + i * VALUE_TABLE_PAGE_BYTES, first + i, t->seed);
    return valid ? CAIRN_OK : table_error(t, -EIO, "read back what was written", error);
}

int value_table_pages_get(value_table *t, uint64_t first, uint8_t *scratch, size_t scratch_size, const uint8_t **bytes,
                          size_t *size, cairn_error *error) {
    size_t count;
    if (first < t->spilled) {
        count = (size_t)min_u64(scratch_size / VALUE_TABLE_PAGE_BYTES, t->spilled - first);
        int rc = read_spilled(t, first, scratch, count, error);
        if (rc != CAIRN_OK) return rc;
        *bytes = scratch;
    } else {
        CHECK(first == t->spilled);
        count = (size_t)(value_table_pages(t->codec, t->frames) - t->spilled);
        seal_pages(t, count);
        *bytes = t->pages;
    }
    *size = count * VALUE_TABLE_PAGE_BYTES;
    return CAIRN_OK;
}
