/* Which values are compressed, and the dictionaries that a log knows. */
#include "src/base/status.h"
#include "vlog/log_state.h"

#include <stdlib.h>

/* ---- Dictionaries ---- */

static const dictionary *find_dictionary(const vlog *log, uint64_t id) {
    for (size_t i = 0; i < log->dictionary_count; i++) {
        if (dictionary_id(log->dictionaries[i]) == id) return log->dictionaries[i];
    }
    return NULL;
}

/* Takes it over, or frees it when another thread was quicker. dictionary_lock held. */
static int keep_dictionary(vlog *log, dictionary *d, const dictionary **out, cairn_error *error) {
    *out = find_dictionary(log, dictionary_id(d));
    if (*out != NULL) {
        dictionary_free(d);
        return CAIRN_OK;
    }
    dictionary **grown = realloc(log->dictionaries, (log->dictionary_count + 1) * sizeof *grown);
    if (grown == NULL) {
        dictionary_free(d);
        return status_set(error, CAIRN_NO_MEMORY, "no memory for a dictionary");
    }
    log->dictionaries = grown;
    log->dictionaries[log->dictionary_count++] = d;
    *out = d;
    return CAIRN_OK;
}

int vlog_dictionary(vlog *log, uint64_t id, const dictionary **out, cairn_error *error) {
    const dictionary *current = vlog_current_dictionary(log);
    if (current != NULL && dictionary_id(current) == id) {
        *out = current;
        return CAIRN_OK;
    }
    os_mutex_lock(&log->dictionary_lock);
    *out = find_dictionary(log, id);
    os_mutex_unlock(&log->dictionary_lock);
    if (*out != NULL) return CAIRN_OK;
    dictionary *loaded = NULL;
    int rc = dictionary_load(&loaded, &log->env, id, error);
    if (rc != CAIRN_OK) return rc;
    os_mutex_lock(&log->dictionary_lock);
    rc = keep_dictionary(log, loaded, out, error);
    os_mutex_unlock(&log->dictionary_lock);
    return rc;
}

void vlog_dictionaries_release(vlog *log) {
    for (size_t i = 0; i < log->dictionary_count; i++) {
        dictionary_free(log->dictionaries[i]);
    }
    free(log->dictionaries);
}

void vlog_load_current_dictionary(vlog *log) {
    const dictionary *d = NULL;
    cairn_error error;
    if (log->manifest.dictionary == 0) return;
    if (vlog_dictionary(log, log->manifest.dictionary, &d, &error) == CAIRN_OK) {
        atomic_store(&log->current_dictionary, d);
    } else { /* Only what is written from now on does without. */
        vlog_say(log, CAIRN_LOG_WARNING, "the dictionary cannot be used: %s", error.message);
    }
}

int vlog_dictionary_make(vlog *log, const void *content, size_t size, uint64_t *id, const dictionary **out,
                         cairn_error *error) {
    bool sync_failed = false;
    int rc = vlog_new_file_id(log, id, error);
    if (rc == CAIRN_OK) rc = dictionary_store(&log->env, *id, content, size, &sync_failed, error);
    if (sync_failed) (void)vlog_fail(log);
    return rc == CAIRN_OK ? vlog_dictionary(log, *id, out, error) : rc;
}

void vlog_dictionary_discard(vlog *log, uint64_t id) {
    char name[FILE_NAME_SIZE];
    file_name(name, id, DICTIONARY_SUFFIX);
    if (os_unlink(log->options.dir, name) != 0) vlog_say(log, CAIRN_LOG_WARNING, "cannot remove %s", name);
}

int vlog_dictionary_install(vlog *log, uint64_t id, const dictionary *d, cairn_error *error) {
    os_mutex_lock(&log->manifest_lock);
    uint64_t before = log->manifest.dictionary, features = log->manifest.features;
    /* The manifest's is the highest that was ever installed (see leftovers.c), so one that is late gives way. */
    if (before > id) {
        os_mutex_unlock(&log->manifest_lock);
        return CAIRN_OK;
    }
    log->manifest.dictionary = id;
    log->manifest.features |= FEATURE_ZSTD | FEATURE_DICTIONARY;
    int rc = vlog_store_manifest(log, error);
    if (rc != CAIRN_OK) {
        log->manifest.dictionary = before;
        log->manifest.features = features;
    } else {
        atomic_store_explicit(&log->current_dictionary, d, memory_order_release);
    }
    os_mutex_unlock(&log->manifest_lock);
    return rc;
}

const dictionary *vlog_current_dictionary(const vlog *log) {
    return atomic_load_explicit(&log->current_dictionary, memory_order_acquire);
}

/* ---- Values ---- */

const pack_options *vlog_file_packing(const vlog *log, pack_options *options) {
    *options = (pack_options){.level = log->options.pack_level};
    return log->options.packing == VLOG_PACK_ALWAYS ? options : NULL;
}

int vlog_pack(vlog *log, vlog_record *r, packed *p, cairn_error *error) {
    *p = (packed){.codec = CODEC_RAW};
    const dictionary *d = vlog_current_dictionary(log);
    if (r->value_size > DICTIONARY_VALUE_MAX) d = NULL;
    if (log->options.packing == VLOG_PACK_NEVER || (log->options.packing == VLOG_PACK_BY_DICTIONARY && d == NULL)) {
        return CAIRN_OK;
    }
    pack_options o = {.level = log->options.pack_level, .dictionary = d};
    if (pack_value(log->packer, &o, r->payload, r->value_size, p) != CAIRN_OK)
        return status_set(error, CAIRN_NO_MEMORY, "no memory to compress a value");
    if (p->codec == CODEC_RAW) return CAIRN_OK;
    r->codec = p->codec;
    r->value = r->payload;
    r->payload = p->bytes;
    r->payload_size = p->size;
    r->lengths = p->lengths;
    r->dictionary = p->codec == CODEC_ZSTD_DICTIONARY ? dictionary_id(d) : 0;
    return CAIRN_OK;
}
