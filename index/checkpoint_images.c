/* Reading the images of a checkpoint into an index. Large ones are read by several threads, which take the shards in
 * the order of the file: most of the time goes into memory that is new and waiting for the device. */
#include "index/checkpoint_state.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/status.h"
#include "src/os/os_memory.h"

#define LOADERS 4u
#define LOADERS_FROM ((uint64_t)16 << 20) /* bytes of images below which one thread does it */

typedef struct loading {
    const checkpoint_root *root;
    os_file *data;
    hash_index *index;
    image_order order;
    uint8_t *pages;                          /* one region for all arrays that are pages; NULL: each gets its own */
    uint64_t part_at[HASH_INDEX_SHARDS + 1]; /* where the array of each shard begins in it, in the order of `order` */
    _Atomic unsigned next;                   /* the next of `order` to be taken */
    _Atomic bool failed;
} loading;

/* What one thread makes of it. */
typedef struct loader {
    loading *shared;
    int code;
    cairn_error error;
} loader;

static uint64_t part_bytes(const loading *l, unsigned i) { return l->part_at[i + 1] - l->part_at[i]; }

static void get_pages(loading *l) {
    for (unsigned i = 0; i < l->order.count; i++) {
        l->part_at[i + 1] = l->part_at[i] + hash_shape_pages(&l->root->rows[l->order.shards[i]].shape);
    }
    uint64_t all = l->part_at[l->order.count];
    if (all > 0) l->pages = os_pages_region(all);
}

/* Those of the shards that were never taken, because another one failed. */
static void release_pages(loading *l) {
    unsigned taken = atomic_load(&l->next), from = taken < l->order.count ? taken : l->order.count;
    uint64_t begin = l->part_at[from], end = l->part_at[l->order.count];
    if (l->pages != NULL && end > begin) os_pages_free(l->pages + begin, end - begin);
}

static int load_image(loading *l, unsigned i, cairn_error *error) {
    unsigned shard = l->order.shards[i];
    const checkpoint_row *row = &l->root->rows[shard];
    uint64_t size = hash_shape_bytes(&row->shape);
    void *pages = l->pages != NULL && part_bytes(l, i) > 0 ? l->pages + l->part_at[i] : NULL;
    hash_array *a = hash_array_of_shape(&row->shape, pages);
    if (a == NULL) return status_set(error, CAIRN_NO_MEMORY, "no memory for a shard of the index");

    int code = CAIRN_OK;
    size_t got = 0;
    int result = os_file_read(l->data, (void *)a->slots, size, row->offset, &got);
    if (result < 0) {
        code = status_os(error, result, "reading %s at %llu", CHECKPOINT_DATA_NAME, (unsigned long long)row->offset);
    } else if (got < size || checksum((const void *)a->slots, size, root_image_seed(l->root->info.store_id, shard)) !=
                                 row->checksum) {
        code = status_set(error, CAIRN_CORRUPT, "%s: the image of shard %u at %llu has a wrong checksum",
                          CHECKPOINT_DATA_NAME, shard, (unsigned long long)row->offset);
    } else if (!hash_shard_adopt(l->index, shard, a, &row->shape)) {
        code = status_set(error, CAIRN_CORRUPT, "%s: the image of shard %u at %llu holds what cannot be there",
                          CHECKPOINT_DATA_NAME, shard, (unsigned long long)row->offset);
    }
    if (code != CAIRN_OK) hash_array_free(a);
    return code;
}

static void *load_in_order(void *arg) {
    loader *self = arg;
    loading *l = self->shared;
    while (self->code == CAIRN_OK && !atomic_load_explicit(&l->failed, memory_order_relaxed)) {
        unsigned i = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
        if (i >= l->order.count) break;
        self->code = load_image(l, i, &self->error);
        if (self->code != CAIRN_OK) atomic_store_explicit(&l->failed, true, memory_order_relaxed);
    }
    return NULL;
}

int checkpoint_load_images(checkpoint *c, hash_index *index, cairn_error *error) {
    loading l = {.root = &c->published, .data = c->data, .index = index};
    root_order(&c->published, &l.order);
    get_pages(&l);
    loader loaders[LOADERS] = {0}; /* the first is this thread's */
    os_thread threads[LOADERS];
    unsigned wanted = c->published.data_bytes >= LOADERS_FROM ? LOADERS : 1, running = 1;
    for (unsigned i = 0; i < wanted; i++)
        loaders[i].shared = &l;
    while (running < wanted && os_thread_start(&threads[running], load_in_order, &loaders[running]) == 0)
        running++;
    load_in_order(&loaders[0]);
    for (unsigned i = 1; i < running; i++)
        os_thread_join(&threads[i]);
    release_pages(&l);
    for (unsigned i = 0; i < running; i++) {
        if (loaders[i].code == CAIRN_OK) continue;
        if (error != NULL) *error = loaders[i].error;
        return loaders[i].code;
    }
    return CAIRN_OK;
}
