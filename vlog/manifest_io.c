/* The manifest's file: codec, loading and replacing. Format: vlog/FORMAT.md, "Manifest".
 *
 * A manifest that was loaded has been checked whole: the checksum, and that the segments are in order, lie in the
 * address space without overlap and below next id. So the rest of the log does not ask again. */
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/location.h"
#include "src/base/status.h"
#include "vlog/footer.h"
#include "vlog/manifest.h"
#include "vlog/record.h"

#include <errno.h>
#include <stdlib.h>

#define FORMAT_MAJOR 1u
#define FORMAT_MINOR 0u
#define HEADER_BYTES 128u
#define HEADER_BYTES_BACKUP 144u /* with lineage and origin */
#define SEGMENT_BYTES 96u
#define MANIFEST_BYTES_MAX (HEADER_BYTES_BACKUP + SEGMENT_BYTES * GRANULE_COUNT)

static const char manifest_magic[8] = {'C', 'A', 'I', 'R', 'N', 'M', 'A', 'N'};

enum header_field {
    AT_CHECKSUM = 0,
    AT_MAGIC = 8,
    AT_MAJOR = 16,
    AT_MINOR = 18,
    AT_HEADER_SIZE = 20,
    AT_STORE_ID = 24,
    AT_INCOMPATIBLE = 40,
    AT_COMPATIBLE = 48,
    AT_SEQUENCE = 56,
    AT_RECLAIM_EPOCH = 64,
    AT_NEXT_ID = 72,
    AT_VERSION_CEILING = 80,
    AT_SEGMENT_COUNT = 88,
    AT_DURABLE_PLACE = 96,
    AT_DICTIONARY = 104,      /* with its feature bit, else reserved */
    AT_RECLAIMED_PLACE = 112, /* likewise */
    AT_NEXT_GRANULE = 120,    /* likewise */
    AT_LINEAGE = 128,         /* only there with it */
    AT_ORIGIN = 136           /* likewise */
};

enum segment_field {
    AT_ID = 0,
    AT_GENERATION = 8,
    AT_BASE_GRANULE = 16,
    AT_GRANULES = 24,
    AT_STATE = 32,
    AT_FLAGS = 36,
    AT_SEALED_SIZE = 40,
    AT_TRAILER_CHECKSUM = 48,
    AT_FIRST_PLACE = 56,
    AT_END_PLACE = 64,
    AT_LOWEST_VERSION = 72,
    AT_RECORD_END = 80,
    AT_KEPT = 88, /* in units, 4 bytes each */
    AT_GAPS = 92
};

/* ---- Codec ---- */

static size_t header_bytes(uint64_t features) {
    return (features & FEATURE_BACKUP) != 0 ? HEADER_BYTES_BACKUP : HEADER_BYTES;
}

static void encode_header(uint8_t *out, const manifest *m) {
    memcpy(out + AT_MAGIC, manifest_magic, sizeof manifest_magic);
    le16_put(out + AT_MAJOR, FORMAT_MAJOR);
    le16_put(out + AT_MINOR, FORMAT_MINOR);
    le32_put(out + AT_HEADER_SIZE, (uint32_t)header_bytes(m->features));
    memcpy(out + AT_STORE_ID, m->store_id, sizeof m->store_id);
    le64_put(out + AT_INCOMPATIBLE, m->features);
    le64_put(out + AT_COMPATIBLE, m->compatible_features);
    le64_put(out + AT_SEQUENCE, m->sequence);
    le64_put(out + AT_RECLAIM_EPOCH, m->reclaim_epoch);
    le64_put(out + AT_NEXT_ID, m->next_id);
    le64_put(out + AT_VERSION_CEILING, m->version_ceiling);
    le64_put(out + AT_SEGMENT_COUNT, m->count);
    le64_put(out + AT_DURABLE_PLACE, m->durable_place);
    le64_put(out + AT_DICTIONARY, m->dictionary);
    le64_put(out + AT_RECLAIMED_PLACE, m->reclaimed_place);
    le64_put(out + AT_NEXT_GRANULE, m->next_granule);
    if ((m->features & FEATURE_BACKUP) == 0) return;
    le64_put(out + AT_LINEAGE, m->lineage);
    le64_put(out + AT_ORIGIN, m->origin);
}

static void encode_segment(uint8_t *out, const manifest_segment *s) {
    le64_put(out + AT_ID, s->id);
    le64_put(out + AT_GENERATION, s->generation);
    le64_put(out + AT_BASE_GRANULE, s->base_granule);
    le64_put(out + AT_GRANULES, s->granules);
    le32_put(out + AT_STATE, s->state);
    le32_put(out + AT_FLAGS, s->flags);
    if (s->state != SEGMENT_SEALED) return;
    le64_put(out + AT_SEALED_SIZE, s->sealed_size);
    le64_put(out + AT_TRAILER_CHECKSUM, s->trailer_checksum);
    le64_put(out + AT_FIRST_PLACE, s->first_place);
    le64_put(out + AT_END_PLACE, s->end_place);
    le64_put(out + AT_LOWEST_VERSION, s->lowest_version);
    le64_put(out + AT_RECORD_END, s->record_end);
    le32_put(out + AT_KEPT, (uint32_t)(s->kept / UNIT_BYTES));
    le32_put(out + AT_GAPS, (uint32_t)(s->gaps / UNIT_BYTES));
}

/* The file's bytes, malloc'ed; NULL when there is no memory. */
static uint8_t *encode(const manifest *m, uint64_t salt, size_t *size) {
    size_t header = header_bytes(m->features);
    *size = header + m->count * SEGMENT_BYTES;
    uint8_t *bytes = calloc(1, *size);
    if (bytes == NULL) return NULL;
    encode_header(bytes, m);
    for (size_t i = 0; i < m->count; i++)
        encode_segment(bytes + header + i * SEGMENT_BYTES, &m->segments[i]);
    le64_put(bytes + AT_CHECKSUM, checksum(bytes + AT_MAGIC, *size - AT_MAGIC, salt));
    return bytes;
}

static manifest_segment decode_segment(const uint8_t *in) {
    manifest_segment s = {.id = le64_get(in + AT_ID),
                          .generation = le64_get(in + AT_GENERATION),
                          .base_granule = le64_get(in + AT_BASE_GRANULE),
                          .granules = le64_get(in + AT_GRANULES),
                          .state = le32_get(in + AT_STATE),
                          .flags = le32_get(in + AT_FLAGS)};
    if (s.state == SEGMENT_SEALED) {
        s.sealed_size = le64_get(in + AT_SEALED_SIZE);
        s.trailer_checksum = le64_get(in + AT_TRAILER_CHECKSUM);
        s.first_place = le64_get(in + AT_FIRST_PLACE);
        s.end_place = le64_get(in + AT_END_PLACE);
        s.lowest_version = le64_get(in + AT_LOWEST_VERSION);
        s.record_end = le64_get(in + AT_RECORD_END);
        s.kept = le32_get(in + AT_KEPT) * UNIT_BYTES;
        s.gaps = le32_get(in + AT_GAPS) * UNIT_BYTES;
    }
    return s;
}

/* ---- Loading ---- */

static int damaged(cairn_error *error, uint64_t offset, const char *what) {
    return status_set_at(error, CAIRN_CORRUPT, 0, offset, MANIFEST_NAME ": %s at offset %llu", what,
                         (unsigned long long)offset);
}

/* What can be said before the checksum: a newer format may have another one. */
static int check_beginning(const uint8_t *in, size_t size, cairn_error *error) {
    if (size < HEADER_BYTES) return damaged(error, size, "the header is cut short");
    if (memcmp(in + AT_MAGIC, manifest_magic, sizeof manifest_magic) != 0)
        return damaged(error, AT_MAGIC, "wrong magic");
    unsigned major = le16_get(in + AT_MAJOR);
    if (major > FORMAT_MAJOR) {
        return status_set_at(error, CAIRN_UNSUPPORTED, 0, AT_MAJOR,
                             MANIFEST_NAME ": format %u.%u is newer than this build's %u.%u", major,
                             (unsigned)le16_get(in + AT_MINOR), FORMAT_MAJOR, FORMAT_MINOR);
    }
    return CAIRN_OK;
}

/* Header fields against each other, this build, this store, and the bytes that there are. */
static int check_header(const uint8_t *in, size_t size, const uint8_t store_id[16], uint64_t salt, cairn_error *error) {
    if (memcmp(in + AT_STORE_ID, store_id, 16) != 0)
        return damaged(error, AT_STORE_ID, "the store id is damaged or another store's");
    if (le64_get(in + AT_CHECKSUM) != checksum(in + AT_MAGIC, size - AT_MAGIC, salt))
        return damaged(error, AT_CHECKSUM, "wrong checksum");
    if (le16_get(in + AT_MAJOR) != FORMAT_MAJOR) return damaged(error, AT_MAJOR, "impossible format version");
    uint64_t features = le64_get(in + AT_INCOMPATIBLE);
    if ((features & ~FEATURES_KNOWN) != 0) {
        return status_set_at(error, CAIRN_UNSUPPORTED, 0, AT_INCOMPATIBLE,
                             MANIFEST_NAME ": features 0x%llx are unknown to this build",
                             (unsigned long long)(features & ~FEATURES_KNOWN));
    }
    size_t header = header_bytes(features);
    if (size < header || le32_get(in + AT_HEADER_SIZE) != header)
        return damaged(error, AT_HEADER_SIZE, "wrong header size");
    uint64_t bytes;
    if (mul_overflows(le64_get(in + AT_SEGMENT_COUNT), SEGMENT_BYTES, &bytes) || bytes != size - header)
        return damaged(error, AT_SEGMENT_COUNT, "the number of segments does not fit the file's size");
    if (le64_get(in + AT_NEXT_ID) == 0) return damaged(error, AT_NEXT_ID, "impossible next id");
    if (le64_get(in + AT_VERSION_CEILING) == 0) return damaged(error, AT_VERSION_CEILING, "impossible version ceiling");
    if (le64_get(in + AT_NEXT_GRANULE) > GRANULE_COUNT) return damaged(error, AT_NEXT_GRANULE, "impossible address");
    static const unsigned counters[] = {AT_SEQUENCE,      AT_NEXT_ID,    AT_VERSION_CEILING,
                                        AT_DURABLE_PLACE, AT_DICTIONARY, AT_RECLAIMED_PLACE};
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        if (le64_get(in + counters[i]) >= COUNTER_LIMIT) return damaged(error, counters[i], "impossible counter");
    }
    return CAIRN_OK;
}

/* What is wrong with a segment, and where in its entry; NULL: nothing. */
static const char *segment_fault(const manifest *m, const manifest_segment *s, uint64_t *at) {
    uint64_t before = m->count == 0 ? 0 : m->segments[m->count - 1].id;
    *at = AT_ID;
    if (s->id <= before) return "segment ids do not ascend";
    if (s->id >= m->next_id) return "segment id above the next id";
    *at = AT_BASE_GRANULE;
    if (s->granules == 0 || s->granules > GRANULE_COUNT || s->base_granule > GRANULE_COUNT - s->granules)
        return "segment outside the address space";
    *at = AT_STATE;
    if (s->state != SEGMENT_OPEN && s->state != SEGMENT_SEALED) return "unknown state of a segment";
    *at = AT_FLAGS;
    if ((s->flags & ~(SEGMENT_COMPACTED | SEGMENT_PUNCHED | SEGMENT_ALTERNATE)) != 0)
        return "unknown flags of a segment";
    if (s->flags != 0 && s->state == SEGMENT_OPEN) return "a compacted, punched or replaced segment that is open";
    if (s->state == SEGMENT_OPEN) return NULL;
    *at = AT_SEALED_SIZE;
    if (s->sealed_size < BLOCK_BYTES + FOOTER_TRAILER_BYTES) return "impossible size of a segment";
    *at = AT_FIRST_PLACE;
    if (s->first_place > s->end_place || s->end_place >= COUNTER_LIMIT) return "impossible places of a segment";
    *at = AT_RECORD_END;
    if (s->record_end < BLOCK_BYTES || s->record_end > s->sealed_size - FOOTER_TRAILER_BYTES ||
        s->record_end > s->granules * GRANULE_BYTES)
        return "impossible end of a segment's records";
    return NULL;
}

static int decode_segments(manifest *m, const uint8_t *in, size_t count, cairn_error *error) {
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = header_bytes(m->features) + i * SEGMENT_BYTES, at;
        manifest_segment s = decode_segment(in + offset);
        const char *fault = segment_fault(m, &s, &at);
        if (fault != NULL) return damaged(error, offset + at, fault);
        if (manifest_reserve(m) != CAIRN_OK)
            return status_set(error, CAIRN_NO_MEMORY, MANIFEST_NAME ": no memory for %zu segments", count);
        manifest_add(m, &s);
    }
    uint64_t overlapping;
    if (manifest_find_overlap(m, &overlapping) != CAIRN_OK)
        return status_set(error, CAIRN_NO_MEMORY, MANIFEST_NAME ": no memory for %zu segments", count);
    if (overlapping == 0) return CAIRN_OK;
    size_t index = (size_t)(manifest_find(m, overlapping) - m->segments);
    return damaged(error, header_bytes(m->features) + index * SEGMENT_BYTES + AT_BASE_GRANULE, "segments overlap");
}

static int decode(manifest *m, const uint8_t *in, size_t size, uint64_t salt, cairn_error *error) {
    int rc = check_beginning(in, size, error);
    if (rc == CAIRN_OK) rc = check_header(in, size, m->store_id, salt, error);
    if (rc != CAIRN_OK) return rc;
    m->features = le64_get(in + AT_INCOMPATIBLE);
    m->compatible_features = le64_get(in + AT_COMPATIBLE);
    m->dictionary = le64_get(in + AT_DICTIONARY);
    m->sequence = le64_get(in + AT_SEQUENCE);
    m->reclaim_epoch = le64_get(in + AT_RECLAIM_EPOCH);
    m->next_id = le64_get(in + AT_NEXT_ID);
    m->version_ceiling = le64_get(in + AT_VERSION_CEILING);
    m->durable_place = le64_get(in + AT_DURABLE_PLACE);
    m->reclaimed_place = le64_get(in + AT_RECLAIMED_PLACE);
    m->next_granule = le64_get(in + AT_NEXT_GRANULE);
    if ((m->features & FEATURE_BACKUP) != 0) {
        m->lineage = le64_get(in + AT_LINEAGE);
        m->origin = le64_get(in + AT_ORIGIN);
    }
    return decode_segments(m, in, (size_t)le64_get(in + AT_SEGMENT_COUNT), error);
}

uint64_t manifest_bytes(uint64_t segments) { return HEADER_BYTES_BACKUP + segments * SEGMENT_BYTES; }

/* The whole file, malloc'ed. */
static int read_file(os_file *file, uint8_t **out, size_t *size, cairn_error *error) {
    os_file_info info;
    int rc = os_file_info_get(file, &info);
    if (rc != 0) return status_os(error, rc, MANIFEST_NAME ": cannot read");
    if (info.size > MANIFEST_BYTES_MAX) return damaged(error, MANIFEST_BYTES_MAX, "the file is too long");
    uint8_t *bytes = malloc(info.size + 1);
    if (bytes == NULL) {
        return status_set(error, CAIRN_NO_MEMORY, MANIFEST_NAME ": no memory for %llu bytes",
                          (unsigned long long)info.size);
    }
    rc = os_file_read(file, bytes, info.size, 0, size);
    if (rc != 0) {
        free(bytes);
        return status_os(error, rc, MANIFEST_NAME ": cannot read");
    }
    *out = bytes;
    return CAIRN_OK;
}

int manifest_load(manifest *m, os_dir *dir, const uint8_t store_id[16], uint64_t salt, cairn_error *error) {
    manifest_init(m, store_id);
    os_file *file = NULL;
    int rc = os_file_open(dir, MANIFEST_NAME, OS_READ_ONLY, &file);
    if (rc == -ENOENT) return status_set(error, CAIRN_NOT_FOUND, MANIFEST_NAME " is missing");
    if (rc != 0) return status_os(error, rc, MANIFEST_NAME ": cannot open");

    uint8_t *bytes = NULL;
    size_t size = 0;
    rc = read_file(file, &bytes, &size, error);
    os_file_close(file);
    if (rc == CAIRN_OK) rc = decode(m, bytes, size, salt, error);
    if (rc != CAIRN_OK) {
        manifest_release(m);
        manifest_init(m, store_id);
    }
    free(bytes);
    return rc;
}

/* ---- Replacing ---- */

/* Writes and syncs MANIFEST.NEW. One from a crash before may be there, and longer. */
static int write_new(os_dir *dir, const uint8_t *bytes, size_t size, bool *sync_failed, cairn_error *error) {
    os_file *file = NULL;
    int rc = os_file_open(dir, MANIFEST_NEW_NAME, OS_CREATE, &file);
    if (rc != 0) return status_os(error, rc, MANIFEST_NEW_NAME ": cannot create");
    rc = os_file_truncate(file, 0);
    if (rc == 0) rc = os_file_write(file, bytes, size, 0);
    if (rc != 0) {
        rc = status_os(error, rc, MANIFEST_NEW_NAME ": cannot write %zu bytes", size);
    } else if ((rc = os_file_sync(file)) != 0) {
        *sync_failed = true;
        rc = status_os(error, rc, MANIFEST_NEW_NAME ": cannot sync");
    }
    os_file_close(file);
    return rc;
}

int manifest_store(manifest *m, os_dir *dir, uint64_t salt, bool *sync_failed, cairn_error *error) {
    bool ignored;
    if (sync_failed == NULL) sync_failed = &ignored;
    *sync_failed = false;
    m->sequence++;
    size_t size;
    uint8_t *bytes = encode(m, salt, &size);
    if (bytes == NULL) return status_set(error, CAIRN_NO_MEMORY, MANIFEST_NAME ": no memory for its new content");

    int rc = write_new(dir, bytes, size, sync_failed, error);
    free(bytes);
    if (rc == CAIRN_OK) {
        rc = os_rename(dir, MANIFEST_NEW_NAME, MANIFEST_NAME);
        if (rc != 0) rc = status_os(error, rc, MANIFEST_NAME ": cannot be replaced");
    }
    if (rc != CAIRN_OK) {
        (void)os_unlink(dir, MANIFEST_NEW_NAME); /* gives its space back; one that stays is a leftover */
        return rc;
    }
    rc = os_dir_sync(dir);
    if (rc != 0) {
        *sync_failed = true;
        return status_os(error, rc, MANIFEST_NAME ": cannot sync its directory");
    }
    return CAIRN_OK;
}
