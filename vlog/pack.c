#include "vlog/pack.h"

#include "src/base/check.h"
#include "src/base/codec.h"
#include "vlog/pack_probe.h"
#include "vlog/record.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Idle contexts; NULL is an empty slot. */
typedef struct pool {
    _Atomic(void *) slots[PACK_IDLE_CONTEXTS];
} pool;

struct packer {
    pool encoders; /* ZSTD_CCtx */
    pool decoders; /* ZSTD_DCtx */
    /* Bytes that may be tried in vain. Above 0: what the probe approves of is tried. ACCOUNT_FULL: everything is. */
    _Alignas(64) _Atomic int64_t account;
    _Atomic uint32_t refused; /* values or frames in a row that the probe refused, or that were not looked at since */
};

/* ---- Contexts ---- */

static void *pool_take(pool *from) {
    for (int i = 0; i < PACK_IDLE_CONTEXTS; i++) {
        if (atomic_load_explicit(&from->slots[i], memory_order_relaxed) == NULL) continue;
        void *context = atomic_exchange_explicit(&from->slots[i], NULL, memory_order_acquire);
        if (context != NULL) return context;
    }
    return NULL;
}

/* false: every slot is taken, and the context stays the caller's. */
static bool pool_give(pool *to, void *context) {
    for (int i = 0; i < PACK_IDLE_CONTEXTS; i++) {
        void *empty = NULL;
        if (atomic_load_explicit(&to->slots[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong_explicit(&to->slots[i], &empty, context, memory_order_release,
                                                    memory_order_relaxed))
            return true;
    }
    return false;
}

/* NULL: no memory. */
static ZSTD_CCtx *encoder_take(packer *p) {
    ZSTD_CCtx *encoder = pool_take(&p->encoders);
    if (encoder != NULL) return encoder;
    encoder = ZSTD_createCCtx();
    if (encoder != NULL) CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(encoder, ZSTD_c_dictIDFlag, 0)));
    return encoder;
}

/* It must not go on naming a dictionary, which may be freed from now on. A try that failed has left it in the middle of
 * a frame. */
static void encoder_give(packer *p, ZSTD_CCtx *encoder) {
    CHECK(!ZSTD_isError(ZSTD_CCtx_reset(encoder, ZSTD_reset_session_only)));
    CHECK(!ZSTD_isError(ZSTD_CCtx_refCDict(encoder, NULL)));
    if (!pool_give(&p->encoders, encoder)) ZSTD_freeCCtx(encoder);
}

/* CAIRN_OK or CAIRN_NO_MEMORY. `d` may be NULL. */
static int encoder_prepare(packer *p, int level, const dictionary *d, ZSTD_CCtx **out) {
    const ZSTD_CDict *compressor = NULL;
    if (level == 0) level = d != NULL ? PACK_LEVEL_DICTIONARY : PACK_LEVEL_DEFAULT;
    if (d != NULL && (compressor = dictionary_compressor(d, level)) == NULL) return CAIRN_NO_MEMORY;
    ZSTD_CCtx *encoder = encoder_take(p);
    if (encoder == NULL) return CAIRN_NO_MEMORY;
    CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(encoder, ZSTD_c_compressionLevel, level)));
    CHECK(!ZSTD_isError(ZSTD_CCtx_refCDict(encoder, compressor)));
    *out = encoder;
    return CAIRN_OK;
}

/* Tries a frame. Its stored length; 0 when that would be above `limit`, which is below `size`; negative: a code. */
static int64_t encode_frame(ZSTD_CCtx *encoder, const uint8_t *frame, size_t size, uint8_t *out, size_t limit) {
    size_t got = ZSTD_compress2(encoder, out, limit, frame, size);
    if (!ZSTD_isError(got)) return (int64_t)got;
    return ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation ? CAIRN_NO_MEMORY : 0;
}

/* ---- The account ---- */

/* So a change to bytes that fool the probe costs some megabytes of tries once; from then on one value in PAYING_IN is
 * tried. Every call counts with a constant besides, as its cost has one, here as in the rest of a put. A try alone is
 * dearer than many in a row, because it finds its tables out of the cache. */
#define ACCOUNT_APPROVED ((int64_t)4 << 20) /* after a success */
#define ACCOUNT_FULL (ACCOUNT_APPROVED + ((int64_t)64 << 10))
#define CALL_BYTES ((int64_t)8 << 10)
#define PAYING_IN 1024

/* A value of this size passes. Whether it is to be tried. */
static bool account_pay_in(packer *p, uint64_t size, bool approved) {
    int64_t account = atomic_load_explicit(&p->account, memory_order_relaxed);
    if (account >= ACCOUNT_FULL) return true;
    account += ((int64_t)size + CALL_BYTES) / PAYING_IN;
    atomic_store_explicit(&p->account, account < ACCOUNT_FULL ? account : ACCOUNT_FULL, memory_order_relaxed);
    return approved && account > 0;
}

static void account_failure(packer *p, uint64_t bytes_in_vain) {
    atomic_fetch_sub_explicit(&p->account, (int64_t)bytes_in_vain + CALL_BYTES, memory_order_relaxed);
}

static void account_success(packer *p) {
    atomic_store_explicit(&p->refused, 0, memory_order_relaxed);
    int64_t account = atomic_load_explicit(&p->account, memory_order_relaxed);
    if (account < ACCOUNT_APPROVED) atomic_store_explicit(&p->account, ACCOUNT_APPROVED, memory_order_relaxed);
}

/* ---- Rest ---- */

/* Looking costs as well: what is sampled is seldom in the cache. After so many refusals in a row only one value in
 * LOOK_ONE_IN is looked at, until the probe approves of one. */
#define RESTS_AFTER 64u
#define LOOK_ONE_IN 8u

/* Counts a value that is about to be looked at as refused; true: it is, unseen. */
static bool rests(packer *p) {
    uint32_t refused = atomic_load_explicit(&p->refused, memory_order_relaxed);
    uint32_t next = refused < UINT32_MAX ? refused + 1 : RESTS_AFTER;
    atomic_store_explicit(&p->refused, next, memory_order_relaxed);
    return refused >= RESTS_AFTER && refused % LOOK_ONE_IN != 0;
}

static void approve(packer *p) { atomic_store_explicit(&p->refused, 0, memory_order_relaxed); }

/* ---- Packers ---- */

int packer_new(packer **out) {
    packer *p = *out = aligned_alloc(_Alignof(packer), sizeof *p);
    if (p == NULL) return CAIRN_NO_MEMORY;
    memset(p, 0, sizeof *p);
    atomic_init(&p->account, ACCOUNT_FULL);
    return CAIRN_OK;
}

void packer_free(packer *p) {
    if (p == NULL) return;
    for (int i = 0; i < PACK_IDLE_CONTEXTS; i++) {
        ZSTD_freeCCtx(atomic_load(&p->encoders.slots[i]));
        ZSTD_freeDCtx(atomic_load(&p->decoders.slots[i]));
    }
    free(p);
}

bool pack_level_valid(int level) { return level >= ZSTD_minCLevel() && level <= ZSTD_maxCLevel(); }

/* ---- Whole values ---- */

/* Frames of a value that are tried before any shrank. */
#define TRIES_APPROVED 2
#define TRIES_REFUSED 1

/* The most that a frame may take to be stored compressed; below its size, for sizes that are tried at all. */
static size_t frame_limit(size_t size) { return size - size / 8; }
_Static_assert(PACK_PROBE_BYTES_MIN >= 8, "a compressed frame is shorter than a raw one");

/* The same for a value, by what its record takes: one part in eight, and the stored lengths in its table. 0: none. */
static uint64_t value_limit(uint64_t size, uint64_t frames) {
    uint64_t saving = (RECORD_FIXED_BYTES + record_table_step(CODEC_RAW) * frames + size) / 8 +
                      (record_table_step(CODEC_ZSTD) - record_table_step(CODEC_RAW)) * frames;
    return saving < size ? size - saving : 0;
}

static bool probe_frame(const uint8_t *frame, size_t size) {
    return size >= PACK_PROBE_BYTES_MIN && pack_probe(frame, size);
}

/* The frames that the probe approves of are enough to save what must be saved, were nothing left of them. */
static bool probe_value(const uint8_t *value, uint64_t size, uint64_t saving) {
    uint64_t approved = 0;
    for (uint64_t at = 0; at < size && approved < saving; at += FRAME_BYTES) {
        size_t piece = min_u64(size - at, FRAME_BYTES);
        if (probe_frame(value + at, piece)) approved += piece;
    }
    return approved >= saving;
}

typedef struct packing {
    const uint8_t *value;
    uint64_t size, limit; /* of the value; the stored bytes must not exceed the limit */
    bool approved;        /* by the probe: frames that it refuses are not tried */
    ZSTD_CCtx *encoder;
    packed out;             /* bytes: capacity `limit` */
    uint64_t done;          /* bytes of the value that are in out */
    uint64_t tried;         /* bytes of frames that were tried */
    unsigned tries, shrunk; /* frames */
} packing;

/* One frame more. 1: it is in; 0: the value is not worth it; negative: a code. */
static int pack_next(packing *w) {
    const uint8_t *frame = w->value + w->done;
    size_t piece = min_u64(w->size - w->done, FRAME_BYTES);
    uint64_t room = w->limit - w->out.size;
    int64_t length = 0;
    if (piece >= PACK_PROBE_BYTES_MIN && (!w->approved || pack_probe(frame, piece))) {
        length = encode_frame(w->encoder, frame, piece, w->out.bytes + w->out.size, min_u64(frame_limit(piece), room));
        if (length < 0) return (int)length;
        w->tried += piece;
        w->tries++;
        w->shrunk += length > 0;
        if (w->shrunk == 0 && w->tries == (w->approved ? TRIES_APPROVED : TRIES_REFUSED)) return 0;
    }
    if (length == 0) {
        if (piece > room) return 0;
        memcpy(w->out.bytes + w->out.size, frame, piece);
        length = (int64_t)piece;
    }
    w->out.lengths[w->done / FRAME_BYTES] = (uint32_t)length;
    w->out.size += (uint64_t)length;
    w->done += piece;
    return 1;
}

static int pack_tried(packer *p, packing *w, int level, const dictionary *d) {
    int rc = CAIRN_NO_MEMORY;
    w->out.bytes = malloc(w->limit);
    w->out.lengths = malloc(w->out.frames * sizeof *w->out.lengths);
    if (w->out.bytes == NULL || w->out.lengths == NULL) return rc;
    rc = encoder_prepare(p, level, d, &w->encoder);
    if (rc != CAIRN_OK) return rc;
    rc = 1;
    while (rc == 1 && w->done < w->size)
        rc = pack_next(w);
    encoder_give(p, w->encoder);
    if (rc < 0) return rc;
    if (rc == 1) {
        w->out.codec = d != NULL ? CODEC_ZSTD_DICTIONARY : CODEC_ZSTD;
        account_success(p);
    } else if (w->tries > 0) {
        account_failure(p, w->tried);
    }
    return CAIRN_OK;
}

int pack_value(packer *p, const pack_options *options, const void *value, uint64_t size, packed *out) {
    *out = (packed){.codec = CODEC_RAW};
    packing w = {.value = value, .size = size, .out.frames = frames_of(size)};
    if (size < PACK_PROBE_BYTES_MIN || (w.limit = value_limit(size, w.out.frames)) == 0) return CAIRN_OK;
    w.approved = !rests(p) && probe_value(value, size, size - w.limit);
    if (w.approved) approve(p);
    if (!account_pay_in(p, size, w.approved)) return CAIRN_OK;
    int rc = pack_tried(p, &w, options->level, size <= DICTIONARY_VALUE_MAX ? options->dictionary : NULL);
    if (w.out.codec != CODEC_RAW) {
        *out = w.out;
    } else {
        packed_release(&w.out);
    }
    return rc;
}

void packed_release(packed *v) {
    free(v->bytes);
    free(v->lengths);
    *v = (packed){.codec = CODEC_RAW};
}

/* ---- Frames ---- */

uint32_t pack_frame(packer *p, const pack_options *options, const void *frame, size_t size, void *out) {
    CHECK(size <= FRAME_BYTES);
    if (size < PACK_PROBE_BYTES_MIN) return (uint32_t)size;
    bool approved = !rests(p) && pack_probe(frame, size);
    if (approved) approve(p);
    if (!account_pay_in(p, size, approved)) return (uint32_t)size;
    ZSTD_CCtx *encoder;
    if (encoder_prepare(p, options->level, NULL, &encoder) != CAIRN_OK) return (uint32_t)size;
    int64_t length = encode_frame(encoder, frame, size, out, frame_limit(size));
    encoder_give(p, encoder);
    if (length > 0) {
        account_success(p);
        return (uint32_t)length;
    }
    account_failure(p, size);
    return (uint32_t)size;
}

/* The bytes are one frame of zstd's present format for `size` bytes, as far as its headers go. Two frames, one to be
 * skipped and those of old formats would be decompressed as well, by code that is better not reached. */
static bool is_one_frame(const void *stored, size_t stored_size, size_t size) {
    return stored_size >= 4 && le32_get(stored) == ZSTD_MAGICNUMBER &&
           ZSTD_getFrameContentSize(stored, stored_size) == size &&
           ZSTD_findFrameCompressedSize(stored, stored_size) == stored_size;
}

int unpack_frame(packer *p, const dictionary *d, const void *stored, size_t stored_size, void *out, size_t size) {
    if (stored_size == size) {
        memcpy(out, stored, size);
        return CAIRN_OK;
    }
    if (stored_size > size || !is_one_frame(stored, stored_size, size)) return CAIRN_CORRUPT;
    ZSTD_DCtx *decoder = pool_take(&p->decoders);
    if (decoder == NULL) decoder = ZSTD_createDCtx();
    if (decoder == NULL) return CAIRN_NO_MEMORY;
    size_t got = d == NULL
                     ? ZSTD_decompressDCtx(decoder, out, size, stored, stored_size)
                     : ZSTD_decompress_usingDDict(decoder, out, size, stored, stored_size, dictionary_decompressor(d));
    if (!pool_give(&p->decoders, decoder)) ZSTD_freeDCtx(decoder);
    return got == size ? CAIRN_OK : CAIRN_CORRUPT; /* it allocates nothing, so that is the only reason */
}
