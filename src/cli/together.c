#include "src/cli/together.h"

#include <stdlib.h>

#define ROOM (TOGETHER_BYTES + 4096) /* a value comes without a copy where there is room for what pads its record */

together *together_new(void) {
    together *t = calloc(1, sizeof *t);
    if (t != NULL) t->buffers = malloc(TOGETHER_KEYS * ROOM);
    if (t != NULL && t->buffers != NULL) return t;
    free(t);
    return NULL;
}

void together_free(together *t) {
    if (t == NULL) return;
    free(t->buffers);
    free(t);
}

void together_add(together *t, byte_view key, size_t number) {
    size_t i = t->count++;
    t->numbers[i] = number;
    t->errors[i] = (cairn_error){0};
    t->items[i] = (cairn_get_item){
        .key = key.data, .key_size = key.size, .buf = t->buffers + i * ROOM, .cap = ROOM, .error = &t->errors[i]};
}

int together_get(together *t, cairn *store, cairn_error *error) {
    return cairn_get_many(store, t->items, sizeof t->items[0], t->count, NULL, error);
}
