#include "src/cli/treekeys.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void tree_keys_release(tree_keys *keys) {
    free(keys->bytes);
    free(keys->keys);
}

bool tree_keys_add(tree_keys *keys, byte_view key, uint64_t value_size) {
    if (keys->bytes_capacity - keys->bytes_size < key.size) {
        size_t wanted = keys->bytes_capacity * 2 + key.size + 4096;
        uint8_t *grown = realloc(keys->bytes, wanted);
        if (grown == NULL) return false;
        keys->bytes = grown;
        keys->bytes_capacity = wanted;
    }
    if (keys->count == keys->capacity) {
        size_t wanted = keys->capacity * 2 + 64;
        tree_key *grown = reallocarray(keys->keys, wanted, sizeof *grown);
        if (grown == NULL) return false;
        keys->keys = grown;
        keys->capacity = wanted;
    }
    keys->keys[keys->count++] =
        (tree_key){.at = keys->bytes_size, .size = (uint32_t)key.size, .value_size = value_size};
    memcpy(keys->bytes + keys->bytes_size, key.data, key.size);
    keys->bytes_size += key.size;
    return true;
}

byte_view tree_keys_key(const tree_keys *keys, size_t index) {
    const tree_key *key = &keys->keys[index];
    return (byte_view){.data = keys->bytes + key->at, .size = key->size};
}

static byte_view path_of(const tree_keys *keys, const tree_key *key) {
    return (byte_view){.data = keys->bytes + key->at + keys->prefix_size, .size = key->size - keys->prefix_size};
}

byte_view tree_keys_path(const tree_keys *keys, size_t index) { return path_of(keys, &keys->keys[index]); }

const char *tree_path_refusal(byte_view path) {
    if (path.size == 0) return "refused: nothing of it is left behind the prefix";
    if (path.data[0] == '/') return "refused: an absolute path";
    if (path.data[path.size - 1] == '/') return "refused: ends with a slash";
    if (memchr(path.data, '\0', path.size) != NULL) return "refused: holds a NUL byte";
    for (size_t at = 0; at < path.size;) {
        const uint8_t *component = path.data + at;
        const uint8_t *slash = memchr(component, '/', path.size - at);
        size_t size = slash == NULL ? path.size - at : (size_t)(slash - component);
        if (size == 0) return "refused: holds an empty component";
        if (size == 1 && component[0] == '.') return "refused: holds the component .";
        if (size == 2 && component[0] == '.' && component[1] == '.') return "refused: would leave the directory";
        if (size > NAME_MAX) return "refused: a component is longer than 255 bytes";
        at += size + 1;
    }
    return NULL;
}

/* As memcmp, but the slash is below every other byte, so that nothing comes between "a" and "a/b". Refused ones, which
 * may hold a NUL byte, come first. */
static int compare(const void *left, const void *right, void *ctx) {
    const tree_key *keys[2] = {left, right};
    if (keys[0]->refused != keys[1]->refused) return keys[0]->refused ? -1 : 1;
    byte_view a = path_of(ctx, keys[0]), b = path_of(ctx, keys[1]);
    size_t common = a.size < b.size ? a.size : b.size;
    for (size_t i = 0; i < common; i++) {
        if (a.data[i] == b.data[i]) continue;
        int low = a.data[i] == '/' ? 0 : a.data[i], high = b.data[i] == '/' ? 0 : b.data[i];
        return low - high;
    }
    return a.size == b.size ? 0 : a.size < b.size ? -1 : 1;
}

static bool lies_below(byte_view path, byte_view directory) {
    return path.size > directory.size && path.data[directory.size] == '/' &&
           memcmp(path.data, directory.data, directory.size) == 0;
}

void tree_keys_judge(tree_keys *keys, tree_refusal tell, void *ctx) {
    for (size_t i = 0; i < keys->count; i++) {
        const char *why = tree_path_refusal(tree_keys_path(keys, i));
        keys->keys[i].refused = why != NULL;
        if (why != NULL) tell(ctx, tree_keys_key(keys, i), why, NULL);
    }
    if (keys->count > 0) qsort_r(keys->keys, keys->count, sizeof *keys->keys, compare, keys);

    /* `file` is the last key that lies below none: those below it, if any, follow it without a gap. */
    size_t file = SIZE_MAX;
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->keys[i].refused) continue;
        if (file == SIZE_MAX || !lies_below(tree_keys_path(keys, i), tree_keys_path(keys, file))) {
            file = i;
            continue;
        }
        byte_view clashing = tree_keys_key(keys, file);
        if (!keys->keys[file].refused) {
            byte_view below = tree_keys_key(keys, i);
            keys->keys[file].refused = true;
            tell(ctx, clashing, "refused: it would be a file and the directory of", &below);
        }
        keys->keys[i].refused = true;
        tell(ctx, tree_keys_key(keys, i), "refused: it would lie below the file of", &clashing);
    }
}
