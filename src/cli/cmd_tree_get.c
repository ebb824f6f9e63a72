/* get-tree: every value becomes a file below a directory, its key the relative path. */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/progress.h"
#include "src/cli/session.h"
#include "src/cli/together.h"
#include "src/cli/transfer.h"
#include "src/cli/treekeys.h"
#include "src/cli/userfile_tree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct tree_get {
    const char *directory;
    byte_string prefix;
    tree_keys keys;
    together *next; /* the values of some keys */
    file_tree tree;
    transfer transfer;
    progress shown;
    uint64_t files, bytes, refused, failed;
    int exit_code; /* the worst so far that did not end the work */
} tree_get;

/* What is not written; the rest is. */
static int pass_over(tree_get *g, int exit_code) {
    g->failed++;
    g->exit_code = exit_code_worse(g->exit_code, exit_code);
    return EXIT_OK;
}

/* ---- The keys ---- */

/* Those with the prefix, by the ordered index where there is one; else all are looked at. */
static int open_scan(const tree_get *g, cairn *store, bool sizes, cairn_scan **scan, cairn_error *error) {
    cairn_scan_options options = {.struct_size = sizeof options, .keys_only = !sizes};
    options.prefix = g->prefix.data;
    options.prefix_size = g->prefix.size;
    int code = cairn_scan_open(store, &options, scan, error);
    if (code != CAIRN_UNSUPPORTED) return code;
    options.prefix = NULL;
    options.prefix_size = 0;
    return cairn_scan_open(store, &options, scan, error);
}

static int collect_keys(const arguments *args, tree_get *g, cairn *store) {
    bool sizes = progress_wanted(args); /* which nothing else needs */
    cairn_scan *scan = NULL;
    cairn_error error = {0};
    int code = open_scan(g, store, sizes, &scan, &error);
    if (code != CAIRN_OK) return report_store(code, &error, about_nothing());
    int exit_code = EXIT_OK;
    while (exit_code == EXIT_OK && (code = cairn_scan_next(scan, &error)) != CAIRN_DONE) {
        byte_view key = {0};
        if (code != CAIRN_OK) {
            exit_code = report_store(code, &error, about_nothing());
            if (code == CAIRN_CORRUPT) exit_code = pass_over(g, exit_code);
            continue;
        }
        key.data = cairn_scan_key(scan, &key.size);
        bool wanted = key.size >= g->prefix.size &&
                      (g->prefix.size == 0 || memcmp(key.data, g->prefix.data, g->prefix.size) == 0);
        uint64_t value_size = sizes ? cairn_scan_value_size(scan) : 0;
        if (wanted && !tree_keys_add(&g->keys, key, value_size)) exit_code = report_no_memory();
        if (interrupted()) exit_code = report_interrupted();
    }
    cairn_scan_close(scan);
    return exit_code;
}

static void refuse(tree_get *g, byte_view key, const char *why) {
    g->refused++;
    g->exit_code = exit_code_worse(g->exit_code, report_rejected(about_key(key), why));
}

static void tell_refusal(void *ctx, byte_view key, const char *why, const byte_view *other) {
    if (other == NULL) {
        refuse(ctx, key, why);
        return;
    }
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        fputs(why, out);
        fputc(' ', out);
        key_show(out, *other);
        if (fclose(out) != 0) out = NULL;
    }
    refuse(ctx, key, out != NULL ? text : why);
    free(text);
}

/* ---- The files ---- */

static int report_obstacle(tree_get *g, byte_view key, int rc) {
    switch (rc) {
    case -ELOOP:
        refuse(g, key, "refused: a directory on its way is a symbolic link");
        return EXIT_OK;
    case FILE_TREE_KEPT_OUT:
        refuse(g, key, "refused: it would lie in the store");
        return EXIT_OK;
    case -EEXIST:
        return pass_over(g, report_failure(CAIRN_IO, EXIT_FAILED, about_key(key), "what is there is no regular file"));
    default: {
        int exit_code = report_file(rc, about_key(key), "cannot write the file");
        return exit_code == EXIT_NO_SPACE ? exit_code : pass_over(g, exit_code);
    }
    }
}

/* Writes the value that the reader has, or that was got with others (reader is NULL). EXIT_OK to go on, whether or not
 * the file was written. */
static int write_file(tree_get *g, cairn_reader *reader, const cairn_get_item *got, byte_view key, byte_view path) {
    target_file target;
    int rc = file_tree_create(&g->tree, path, &target);
    if (rc < 0) return report_obstacle(g, key, rc);
    transfer *t = &g->transfer;
    transfer_end end = reader != NULL
                           ? transfer_get(t, reader, 0, cairn_reader_size(reader), transfer_to_target, &target)
                           : transfer_give(t, got->value, got->value_size, transfer_to_target, &target);
    if (end == TRANSFER_DONE) {
        rc = target_commit(&target);
        if (rc < 0) return report_obstacle(g, key, rc);
        g->files++;
        g->bytes += t->bytes;
        return output_done_key(key, t->bytes) ? EXIT_OK : report_output();
    }
    target_discard(&target);
    if (end == TRANSFER_FILE_FAILED) return report_obstacle(g, key, t->error);
    if (end == TRANSFER_INTERRUPTED) return report_interrupted();
    int exit_code = report_store(t->code, &t->store_error, about_key(key));
    return t->code == CAIRN_CORRUPT ? pass_over(g, exit_code) : exit_code;
}

/* A key that expired since it was listed is left out. */
static int report_unread(tree_get *g, int code, const cairn_error *error, byte_view key) {
    if (code == CAIRN_NOT_FOUND) return EXIT_OK;
    int exit_code = report_store(code, error, about_key(key));
    return code == CAIRN_CORRUPT ? pass_over(g, exit_code) : exit_code;
}

static int get_file(tree_get *g, cairn *store, size_t i) {
    const cairn_get_item *got = &g->next->items[i];
    byte_view key = tree_keys_key(&g->keys, g->next->numbers[i]), path = tree_keys_path(&g->keys, g->next->numbers[i]);
    if (got->code == CAIRN_OK) return write_file(g, NULL, got, key, path);
    if (got->code != CAIRN_TOO_SMALL) return report_unread(g, got->code, got->error, key);
    cairn_reader *reader = NULL;
    cairn_error error = {0};
    int code = cairn_reader_open(store, key.data, key.size, &reader, &error);
    if (code != CAIRN_OK) return report_unread(g, code, &error, key);
    int exit_code = write_file(g, reader, NULL, key, path);
    cairn_reader_close(reader);
    return exit_code;
}

/* Those of the keys from `from` on that are got together; returns the number behind the last. */
static size_t choose_next(tree_get *g, size_t from) {
    g->next->count = 0;
    for (; from < g->keys.count && !together_is_full(g->next); from++) {
        if (!g->keys.keys[from].refused) together_add(g->next, tree_keys_key(&g->keys, from), from);
    }
    return from;
}

static int get_files(tree_get *g, cairn *store) {
    for (size_t from = 0; from < g->keys.count;) {
        cairn_error error = {0};
        if (interrupted()) return report_interrupted();
        from = choose_next(g, from);
        int code = together_get(g->next, store, &error);
        if (code != CAIRN_OK) return report_store(code, &error, about_nothing());
        for (size_t i = 0; i < g->next->count; i++) {
            if (interrupted()) return report_interrupted();
            int exit_code = get_file(g, store, i);
            if (exit_code != EXIT_OK) return exit_code;
        }
    }
    return g->exit_code;
}

static bool print_summary(const tree_get *g) {
    if (output_modes()->json) {
        json object;
        json_open(&object, stdout);
        json_number(&object, "files", g->files);
        json_number(&object, "bytes", g->bytes);
        json_number(&object, "refused", g->refused);
        json_number(&object, "failed", g->failed);
        json_close(&object);
    } else if (!output_modes()->quiet) {
        char bytes[HUMAN_SIZE];
        fprintf(stderr, "cairn: wrote %" PRIu64 " files, %s; refused %" PRIu64 ", failed %" PRIu64 "\n", g->files,
                human_bytes(bytes, g->bytes), g->refused, g->failed);
    }
    return output_flush();
}

static int write_tree(const arguments *args, cairn *store, tree_get *g) {
    int exit_code = EXIT_OK;
    uint64_t total = 0;
    tree_keys_judge(&g->keys, tell_refusal, g);
    for (size_t i = 0; i < g->keys.count; i++) {
        if (!g->keys.keys[i].refused) total += g->keys.keys[i].value_size;
    }
    if ((g->next = together_new()) == NULL) return report_no_memory();
    if (!transfer_begin(&g->transfer, store, &g->shown)) return report_no_memory();
    progress_begin(&g->shown, args, total);
    exit_code = get_files(g, store);
    progress_end(&g->shown);
    transfer_finish(&g->transfer);
    if (!print_summary(g) && exit_code == EXIT_OK) exit_code = report_output();
    return exit_code;
}

static int get_tree(const arguments *args, cairn *store, tree_get *g) {
    directory_id own;
    const directory_id *keep_out = directory_identify(session_path(args), &own) == 0 ? &own : NULL;
    int exit_code = collect_keys(args, g, store);
    if (exit_code != EXIT_OK) return exit_code;
    int rc = file_tree_open(&g->tree, g->directory, keep_out);
    if (rc == FILE_TREE_KEPT_OUT) return report_rejected(about_file(g->directory), "is the store itself");
    if (rc < 0) return report_file(rc, about_file(g->directory), "cannot write into the directory");
    exit_code = write_tree(args, store, g);
    file_tree_close(&g->tree);
    return exit_code;
}

int command_get_tree(const arguments *args) {
    tree_get g = {.directory = args->operands[2]};
    cairn *store = NULL;
    int exit_code = session_bound(args, OPT_PREFIX, &g.prefix);
    g.keys.prefix_size = g.prefix.size;
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_READ, &store);
    if (exit_code == EXIT_OK) exit_code = session_close(store, get_tree(args, store, &g));
    tree_keys_release(&g.keys);
    together_free(g.next);
    free(g.prefix.data);
    return exit_code;
}
