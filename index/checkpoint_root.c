#include "index/checkpoint_root.h"

#include "index/store_seed.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"

#include <stdlib.h>

_Static_assert(sizeof(ROOT_MAGIC) == 9, "the magic is 8 bytes");
_Static_assert(HASH_INDEX_SHARDS == 1024, "the number of shards is part of the format");

uint64_t root_image_seed(const uint8_t store_id[16], unsigned shard) { return store_seed(store_id) + 1 + shard; }

/* ---- Rows ---- */

/* The bounds of a row as damaged or hostile bytes may give them. */
static bool row_is_plausible(const checkpoint_row *row) {
    const hash_shape *shape = &row->shape;
    if (shape->buckets == 0) return row->offset == 0 && shape->stash == 0 && shape->entries == 0 && row->checksum == 0;
    uint64_t end;
    return shape->buckets >= BUCKETS_MIN && shape->entries > 0 && row->offset % IMAGE_ALIGN == 0 &&
           shape->entries <= (uint64_t)shape->buckets * BUCKET_SLOTS + shape->stash &&
           !add_overflows(row->offset, hash_shape_bytes(shape), &end);
}

static int compare_offsets(const void *a, const void *b, void *arg) {
    const checkpoint_root *root = arg;
    uint64_t offset_a = root->rows[*(const uint16_t *)a].offset, offset_b = root->rows[*(const uint16_t *)b].offset;
    return (offset_a > offset_b) - (offset_a < offset_b);
}

void root_order(const checkpoint_root *root, image_order *order) {
    order->count = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        if (root->rows[i].shape.buckets > 0) order->shards[order->count++] = (uint16_t)i;
    }
    qsort_r(order->shards, order->count, sizeof order->shards[0], compare_offsets, (void *)(uintptr_t)root);
}

static bool images_overlap(const checkpoint_root *root) {
    image_order order;
    root_order(root, &order);
    uint64_t end = 0;
    for (unsigned i = 0; i < order.count; i++) {
        const checkpoint_row *row = &root->rows[order.shards[i]];
        if (row->offset < end) return true;
        end = row->offset + hash_shape_bytes(&row->shape);
    }
    return false;
}

void root_sum(checkpoint_root *root) {
    root->info.entries = 0;
    root->data_bytes = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        const checkpoint_row *row = &root->rows[i];
        root->info.entries += row->shape.entries;
        root->data_bytes = max_u64(root->data_bytes, row->offset + hash_shape_bytes(&row->shape));
    }
}

uint64_t root_image_bytes(const checkpoint_root *root) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++)
        bytes += hash_shape_bytes(&root->rows[i].shape);
    return bytes;
}

/* ---- Bytes ---- */

int root_encode(const checkpoint_root *root, const uint8_t *blob, size_t blob_size, uint8_t **bytes, size_t *size,
                cairn_error *error) {
    const checkpoint_info *info = &root->info;
    size_t rows_size = (size_t)HASH_INDEX_SHARDS * ROOT_ROW_BYTES;
    *size = ROOT_HEAD_BYTES + rows_size + blob_size + ROOT_CHECKSUM_BYTES;
    uint8_t *p = calloc(1, *size);
    if (p == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a checkpoint's root of %zu bytes", *size);
    memcpy(p, ROOT_MAGIC, 8);
    le16_put(p + 8, ROOT_MAJOR);
    le16_put(p + 10, ROOT_MINOR);
    le32_put(p + 12, ROOT_HEAD_BYTES);
    memcpy(p + 16, info->store_id, 16);
    le64_put(p + 32, info->epoch);
    le64_put(p + 40, info->start_place);
    le64_put(p + 48, info->start_segment);
    le64_put(p + 56, info->start_offset);
    le64_put(p + 64, info->end_place);
    le64_put(p + 72, info->time_ms);
    le64_put(p + 80, info->entries);
    le32_put(p + 88, HASH_INDEX_SHARDS);
    le32_put(p + 92, ROOT_ROW_BYTES);
    le64_put(p + 96, blob_size);
    le64_put(p + 104, root->data_bytes);
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        const checkpoint_row *row = &root->rows[i];
        uint8_t *r = p + ROOT_HEAD_BYTES + (size_t)i * ROOT_ROW_BYTES;
        le64_put(r, row->offset);
        le32_put(r + 8, row->shape.buckets);
        le32_put(r + 12, row->shape.stash);
        le64_put(r + 16, row->shape.entries);
        le64_put(r + 24, row->checksum);
    }
    if (blob_size > 0) memcpy(p + ROOT_HEAD_BYTES + rows_size, blob, blob_size);
    size_t covered = *size - ROOT_CHECKSUM_BYTES;
    le64_put(p + covered, checksum(p, covered, store_seed(info->store_id)));
    *bytes = p;
    return CAIRN_OK;
}

/* The lengths that a head names, which a higher minor version may have made longer than ours. */
typedef struct root_lengths {
    uint64_t head, row, blob;
} root_lengths;

static bool lengths_fit(const root_lengths *l, uint64_t size) {
    if (l->head < ROOT_HEAD_BYTES || l->head % 8 != 0 || l->row < ROOT_ROW_BYTES || l->row % 8 != 0) return false;
    uint64_t sum;
    return !add_overflows(l->head + HASH_INDEX_SHARDS * l->row + ROOT_CHECKSUM_BYTES, l->blob, &sum) && sum == size;
}

static int check_frame(const uint8_t *p, uint64_t size, root_lengths *lengths, cairn_error *error) {
    if (size < ROOT_HEAD_BYTES || memcmp(p, ROOT_MAGIC, 8) != 0) {
        return status_set(error, CAIRN_CORRUPT, "%s is not the root of a checkpoint", CHECKPOINT_ROOT_NAME);
    }
    if (le16_get(p + 8) != ROOT_MAJOR) {
        return status_set(error, CAIRN_CORRUPT, "%s has format %u, a newer format than %u", CHECKPOINT_ROOT_NAME,
                          le16_get(p + 8), ROOT_MAJOR);
    }
    *lengths = (root_lengths){.head = le32_get(p + 12), .row = le32_get(p + 92), .blob = le64_get(p + 96)};
    if (le32_get(p + 88) != HASH_INDEX_SHARDS || !lengths_fit(lengths, size)) {
        return status_set(error, CAIRN_CORRUPT, "%s: its lengths do not make its %llu bytes", CHECKPOINT_ROOT_NAME,
                          (unsigned long long)size);
    }
    uint64_t covered = size - ROOT_CHECKSUM_BYTES;
    if (checksum(p, covered, store_seed(p + 16)) != le64_get(p + covered)) {
        return status_set(error, CAIRN_CORRUPT, "%s: wrong checksum", CHECKPOINT_ROOT_NAME);
    }
    return CAIRN_OK;
}

int root_decode(checkpoint_root *root, const uint8_t *bytes, uint64_t size, const uint8_t **blob, size_t *blob_size,
                cairn_error *error) {
    root_lengths lengths = {0};
    int code = check_frame(bytes, size, &lengths, error);
    if (code != CAIRN_OK) return code;
    checkpoint_info *info = &root->info;
    memcpy(info->store_id, bytes + 16, 16);
    info->epoch = le64_get(bytes + 32);
    info->start_place = le64_get(bytes + 40);
    info->start_segment = le64_get(bytes + 48);
    info->start_offset = le64_get(bytes + 56);
    info->end_place = le64_get(bytes + 64);
    info->time_ms = le64_get(bytes + 72);
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        const uint8_t *r = bytes + lengths.head + i * lengths.row;
        root->rows[i] = (checkpoint_row){
            .offset = le64_get(r),
            .shape = {.buckets = le32_get(r + 8), .stash = le32_get(r + 12), .entries = le64_get(r + 16)},
            .checksum = le64_get(r + 24),
        };
        if (!row_is_plausible(&root->rows[i])) {
            return status_set(error, CAIRN_CORRUPT, "%s: row %u makes no sense", CHECKPOINT_ROOT_NAME, i);
        }
    }
    root_sum(root);
    if (info->entries != le64_get(bytes + 80) || root->data_bytes != le64_get(bytes + 104) || images_overlap(root)) {
        return status_set(error, CAIRN_CORRUPT, "%s: its rows contradict its head or each other", CHECKPOINT_ROOT_NAME);
    }
    *blob = bytes + lengths.head + HASH_INDEX_SHARDS * lengths.row;
    *blob_size = (size_t)lengths.blob;
    return CAIRN_OK;
}
