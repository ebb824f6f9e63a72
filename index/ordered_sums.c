#include "index/ordered_sums.h"

#include "index/ordered.h"
#include "index/store_seed.h"
#include "src/base/check.h"
#include "src/base/checksum.h"

#include <stdlib.h>
#include <string.h>

#define SUMS_MAGIC "cairn-os"
#define SUMS_MAJOR 1u
#define SUMS_HEAD_BYTES 64u
#define SUMS_TAIL_BYTES 8u
#define READ_BYTES ((size_t)256 << 10) /* a multiple of every size of a page */

static size_t file_bytes(uint64_t count) { return SUMS_HEAD_BYTES + 8 * (size_t)count + SUMS_TAIL_BYTES; }

/* What the sums belong to: the same for reading and writing, so that a reader compares bytes. */
static void head_put(uint8_t p[SUMS_HEAD_BYTES], const uint8_t store_id[16], const lmdb_meta *head) {
    memset(p, 0, SUMS_HEAD_BYTES);
    memcpy(p, SUMS_MAGIC, 8);
    le16_put(p + 8, SUMS_MAJOR);
    memcpy(p + 16, store_id, 16);
    le64_put(p + 32, head->transaction);
    le64_put(p + 40, head->sum);
    le64_put(p + 48, head->page_bytes);
    le64_put(p + 56, head->last_page + 1);
}

/* ---- Reading ---- */

static bool bytes_are_right(const uint8_t *bytes, size_t size, const uint8_t store_id[16], const lmdb_meta *head) {
    uint8_t wanted[SUMS_HEAD_BYTES];
    head_put(wanted, store_id, head);
    memcpy(wanted + 10, bytes + 10, 6); /* the minor version, and what it may use */
    return memcmp(bytes, wanted, sizeof wanted) == 0 &&
           checksum(bytes, size - SUMS_TAIL_BYTES, store_seed(store_id)) == le64_get(bytes + size - SUMS_TAIL_BYTES);
}

static page_sums *decode(const uint8_t *bytes, uint64_t count) {
    page_sums *s = malloc(sizeof *s + count * sizeof s->of[0]);
    if (s == NULL) return NULL;
    s->count = count;
    for (uint64_t i = 0; i < count; i++) {
        s->of[i] = le64_get(bytes + SUMS_HEAD_BYTES + 8 * i);
    }
    return s;
}

page_sums *page_sums_load(os_dir *dir, const uint8_t store_id[16], const lmdb_meta *head) {
    os_file *file;
    os_file_info info;
    page_sums *s = NULL;
    uint64_t count = head->last_page + 1;
    size_t size = file_bytes(count), got;
    if (os_file_open(dir, ORDERED_SUMS_NAME, OS_READ_ONLY, &file) != 0) return NULL;
    bool fits = os_file_info_get(file, &info) == 0 && info.size == size;
    uint8_t *bytes = fits ? malloc(size) : NULL;
    if (bytes != NULL && os_file_read(file, bytes, size, 0, &got) == 0 && got == size &&
        bytes_are_right(bytes, size, store_id, head)) {
        s = decode(bytes, count);
    }
    free(bytes);
    os_file_close(file);
    return s;
}

bool page_sums_fit(const page_sums *s, uint64_t number, const uint8_t *page, size_t page_bytes) {
    return number < s->count && checksum(page, page_bytes, number) == s->of[number];
}

/* ---- Writing ---- */

/* Of all pages behind the head; free ones as well, of which the last may have never been written. */
static bool sum_up(os_file *file, const lmdb_meta *head, uint8_t *buffer, uint8_t *sums) {
    uint64_t count = head->last_page + 1, at_once = READ_BYTES / head->page_bytes;
    for (uint64_t first = 0; first < count; first += at_once) {
        size_t pages = min_u64(at_once, count - first), size = pages * head->page_bytes;
        if (lmdb_read(file, buffer, size, first * head->page_bytes, NULL) != CAIRN_OK) return false;
        for (uint64_t i = first; i < first + pages; i++) {
            const uint8_t *page = buffer + (i - first) * head->page_bytes;
            le64_put(sums + 8 * i, i < LMDB_FIRST_PAGE ? 0 : checksum(page, head->page_bytes, i));
        }
    }
    return true;
}

static bool write_all(os_dir *dir, const uint8_t *bytes, size_t size) {
    os_file *file;
    if (os_file_open(dir, ORDERED_SUMS_NAME, OS_CREATE, &file) != 0) return false;
    int rc = os_file_truncate(file, 0);
    if (rc == 0) rc = os_file_write(file, bytes, size, 0);
    os_file_close(file);
    return rc == 0;
}

void page_sums_store(os_dir *dir, os_file *file, const uint8_t store_id[16]) {
    lmdb_meta head;
    if (ordered_head_check(file, &head, NULL) != CAIRN_OK || head.last_page < PAGE_SUMS_PAGES_MIN) return;
    size_t size = file_bytes(head.last_page + 1);
    uint8_t *bytes = malloc(size), *buffer = malloc(READ_BYTES);
    bool done = bytes != NULL && buffer != NULL && sum_up(file, &head, buffer, bytes + SUMS_HEAD_BYTES);
    if (done) {
        head_put(bytes, store_id, &head);
        le64_put(bytes + size - SUMS_TAIL_BYTES, checksum(bytes, size - SUMS_TAIL_BYTES, store_seed(store_id)));
        done = write_all(dir, bytes, size);
    }
    if (!done) (void)os_unlink(dir, ORDERED_SUMS_NAME);
    free(buffer);
    free(bytes);
}
