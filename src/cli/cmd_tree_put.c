/* put-tree: every regular file below a directory becomes a value under its relative path. */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/progress.h"
#include "src/cli/session.h"
#include "src/cli/transfer.h"
#include "src/cli/treewalk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct tree_put {
    const char *directory;
    byte_string prefix;
    byte_string key; /* prefix and path of the file in hand */
    size_t key_capacity;
    transfer transfer;
    progress shown;
    cairn_put_options options;
    bool compresses;
    uint64_t files, bytes, skipped, failed;
    uint64_t stored_bytes; /* counted when it compresses */
    int exit_code;         /* the worst so far that did not end the work */
} tree_put;

static int set_key(tree_put *p, byte_view path) {
    size_t size = p->prefix.size + path.size;
    if (size > p->key_capacity) {
        uint8_t *grown = realloc(p->key.data, 2 * size);
        if (grown == NULL) return report_no_memory();
        p->key.data = grown;
        p->key_capacity = 2 * size;
    }
    if (p->prefix.size > 0) memcpy(p->key.data, p->prefix.data, p->prefix.size);
    memcpy(p->key.data + p->prefix.size, path.data, path.size);
    p->key.size = size;
    return EXIT_OK;
}

/* A file that is not stored; the others are. */
static int pass_over(tree_put *p, int exit_code) {
    p->failed++;
    p->exit_code = exit_code_worse(p->exit_code, exit_code);
    return EXIT_OK;
}

/* What the value takes in the store. A key that expired meanwhile takes nothing. */
static int count_stored(tree_put *p) {
    cairn_entry entry = {.struct_size = sizeof entry};
    cairn_error error = {0};
    int code = cairn_stat(p->transfer.store, p->key.data, p->key.size, &entry, &error);
    if (code != CAIRN_OK && code != CAIRN_NOT_FOUND) return report_store(code, &error, about_key(bytes_view(&p->key)));
    p->stored_bytes += entry.stored_size;
    return EXIT_OK;
}

static int finish_file(tree_put *p, byte_view path, const source_file *source) {
    p->files++;
    p->bytes += p->transfer.bytes;
    int exit_code = p->compresses ? count_stored(p) : EXIT_OK;
    if (exit_code != EXIT_OK) return exit_code;
    if (source_changed(source)) {
        report_warning(about_path(path.data, path.size), "changed while it was read; what was read is stored");
    }
    return output_done_key(bytes_view(&p->key), p->transfer.bytes) ? EXIT_OK : report_output();
}

/* EXIT_OK to go on, whether or not this file is stored. */
static int put_file(tree_put *p, const walk_entry *entry) {
    subject about = about_path(entry->path.data, entry->path.size);
    int exit_code = set_key(p, entry->path);
    if (exit_code != EXIT_OK) return exit_code;
    if (p->key.size > CAIRN_KEY_SIZE_MAX) {
        return pass_over(p, report_failure(CAIRN_TOO_BIG, EXIT_REJECTED, about, "the path is too long for a key"));
    }
    source_file source;
    int rc = source_open_at(&source, entry->directory, entry->name);
    if (rc < 0) return pass_over(p, report_file(rc, about, "cannot read"));
    switch (transfer_put(&p->transfer, bytes_view(&p->key), &source, &p->options)) {
    case TRANSFER_DONE:
        exit_code = finish_file(p, entry->path, &source);
        break;
    case TRANSFER_FILE_FAILED:
        exit_code = pass_over(p, report_file(p->transfer.error, about, "cannot read"));
        break;
    case TRANSFER_STORE_FAILED:
        exit_code = report_store(p->transfer.code, &p->transfer.store_error, about);
        if (exit_code == EXIT_REJECTED) exit_code = pass_over(p, exit_code);
        break;
    case TRANSFER_INTERRUPTED:
    default:
        exit_code = report_interrupted();
        break;
    }
    source_close(&source);
    return exit_code;
}

static int put_files(tree_put *p, tree_walk *walk) {
    walk_entry entry;
    for (;;) {
        if (interrupted()) return report_interrupted();
        walk_step step = tree_walk_next(walk, &entry);
        if (step == WALK_END) return p->exit_code;
        int exit_code = EXIT_OK;
        if (step == WALK_FILE) {
            exit_code = put_file(p, &entry);
        } else if (step == WALK_FAILED) {
            exit_code = pass_over(
                p, report_file(entry.error, about_path(entry.path.data, entry.path.size), "cannot read the directory"));
        } else {
            p->skipped++;
            char text[64];
            (void)snprintf(text, sizeof text, "skipped: %s", entry.what);
            report_note(about_path(entry.path.data, entry.path.size), text);
        }
        if (exit_code != EXIT_OK) return exit_code;
    }
}

static bool print_summary(const tree_put *p) {
    if (output_modes()->json) {
        json object;
        json_open(&object, stdout);
        json_number(&object, "files", p->files);
        json_number(&object, "bytes", p->bytes);
        if (p->compresses) json_number(&object, "stored_bytes", p->stored_bytes);
        json_number(&object, "skipped", p->skipped);
        json_number(&object, "failed", p->failed);
        json_close(&object);
    } else if (!output_modes()->quiet) {
        char bytes[HUMAN_SIZE], stored[HUMAN_SIZE];
        fprintf(stderr, "cairn: stored %" PRIu64 " files, %s%s%s; skipped %" PRIu64 ", failed %" PRIu64 "\n", p->files,
                human_bytes(bytes, p->bytes), p->compresses ? " in " : "",
                p->compresses ? human_bytes(stored, p->stored_bytes) : "", p->skipped, p->failed);
    }
    return output_flush();
}

static int put_tree(const arguments *args, cairn *store, tree_put *p) {
    /* A store below the directory would be stored into itself, and grow as it is read. */
    directory_id own;
    const directory_id *leave_out = directory_identify(session_path(args), &own) == 0 ? &own : NULL;
    tree_walk *walk = NULL;
    int rc = tree_walk_open(&walk, p->directory, leave_out);
    if (rc < 0) return report_file(rc, about_file(p->directory), "cannot read the directory");
    int exit_code = EXIT_OK;
    if (transfer_begin(&p->transfer, store, &p->shown)) {
        progress_begin(&p->shown, args, progress_wanted(args) ? tree_total_bytes(p->directory, leave_out) : 0);
        exit_code = put_files(p, walk);
        progress_end(&p->shown);
        transfer_finish(&p->transfer);
        if (!print_summary(p) && exit_code == EXIT_OK) exit_code = report_output();
    } else {
        exit_code = report_no_memory();
    }
    tree_walk_close(walk);
    return exit_code;
}

int command_put_tree(const arguments *args) {
    tree_put p = {.directory = args->operands[2], .compresses = args_has(args, OPT_COMPRESS)};
    cairn *store = NULL;
    int exit_code = session_put_options(args, &p.options);
    if (exit_code == EXIT_OK) exit_code = session_bound(args, OPT_PREFIX, &p.prefix);
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_WRITE, &store);
    if (exit_code == EXIT_OK) exit_code = session_close(store, put_tree(args, store, &p));
    free(p.prefix.data);
    free(p.key.data);
    return exit_code;
}
