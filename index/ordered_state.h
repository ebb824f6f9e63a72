/* The opened index, shared by ordered.c and ordered_cursor.c. */
#ifndef CAIRN_INDEX_ORDERED_STATE_H
#define CAIRN_INDEX_ORDERED_STATE_H

#include "index/ordered.h"
#include "index/ordered_env.h"
#include "index/ordered_pages.h"
#include "src/os/os_thread.h"

#include <stdatomic.h>

struct ordered {
    ordered_env env; /* the map: changed only with `growing` set and nobody inside */
    bool read_only;
    os_mutex writing;  /* guards `failed` and is held through an absorb */
    bool failed;       /* a commit failed for a reason that may be final */
    bool sums_fit;     /* guarded by it: ORDERED.SUMS is of what the file holds */
    os_mutex gate;     /* guards what follows */
    os_cond gate_open; /* `inside`, `by_page` or `growing` went down */
    unsigned inside;   /* read transactions */
    unsigned by_page;  /* walks that read without LMDB */
    page_source pages; /* for them; its sums go, with none of them inside, before the first commit */
    bool distrusted;   /* one of them met a page that does not fit: the check has to tell */
    bool growing;
    bool map_lost;     /* by a growth that failed: LMDB may only be closed */
    ordered_meta meta; /* as committed; changed under `writing` as well */
    os_mutex checking; /* held through the check of the file, and guards `damage` */
    atomic_bool sound; /* the file was checked: nobody writes or walks before that */
    cairn_error damage;
};

/* Whether the file is sound: who comes first checks it, the others wait. CAIRN_OK; CAIRN_CORRUPT from then on;
 * CAIRN_IO, CAIRN_NO_MEMORY. */
int ordered_check(ordered *o, cairn_error *error);
/* Inside, a read transaction may be open, and no other one of this thread; or, where it says *by_page, pages are read
 * from `pages`, and none by LMDB. CAIRN_OK, CAIRN_FAILED, or a code of the check. */
int ordered_enter(ordered *o, bool *by_page, cairn_error *error);
void ordered_leave(ordered *o, bool by_page);
/* For whoever met a page that does not fit, inside: from now on nobody enters without the check. */
void ordered_distrust(ordered *o);

#endif
