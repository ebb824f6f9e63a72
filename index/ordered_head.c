/* What LMDB believes without looking, and a wrong bit of which would end the process. Layout: index/FORMAT.md.
 *
 * A wrong number of a page may lead to an old version of the right page, so that plausible is not enough. But the seal
 * comes after the commit: one that lags by the commit that a crash may have left unsealed has to do.
 */
#include "index/ordered_env.h"
#include "index/ordered_lmdb.h"
#include "src/base/check.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "src/base/status.h"

#include <string.h>

#define LMDB_MAGIC 0xBEEFC0DEu
#define LMDB_DATA_VERSION 1u
#define META_BYTES 152u /* with the page's head */
#define HEAD_BYTES (SEAL_AT + SEAL_BYTES)
#define TRANSACTION_AT 144u
#define SEAL_AT 256u /* in the page, where LMDB writes nothing */
#define SEAL_BYTES 16u

static bool meta_get(lmdb_meta *m, const uint8_t p[HEAD_BYTES], uint64_t page) {
    *m = (lmdb_meta){.page_bytes = le32_get(p + 40),
                     .map_bytes = le64_get(p + 32),
                     .last_page = le64_get(p + 136),
                     .transaction = le64_get(p + TRANSACTION_AT),
                     .sum = checksum(p, META_BYTES, 0),
                     .free = lmdb_tree_get(p + 40),
                     .main = lmdb_tree_get(p + 88)};
    bool is_power = m->page_bytes >= 512 && m->page_bytes <= 32768 && (m->page_bytes & (m->page_bytes - 1)) == 0;
    return is_power && m->transaction % 2 == page && le64_get(p) == page && le16_get(p + 10) == LMDB_HEAD &&
           le32_get(p + 16) == LMDB_MAGIC && le32_get(p + 20) == LMDB_DATA_VERSION && le64_get(p + 24) == 0;
}

static bool seal_is_near(const uint8_t bytes[HEAD_BYTES], uint64_t transaction) {
    uint64_t sealed = le64_get(bytes + SEAL_AT);
    return sealed == transaction || (transaction >= 2 && sealed == transaction - 2);
}

/* Every commit moves a root, so that bytes which fit the seal but for a higher number are no commit of their own. */
static bool seal_fits(const uint8_t bytes[HEAD_BYTES], uint64_t transaction) {
    uint8_t as_sealed[META_BYTES];
    uint64_t sealed = le64_get(bytes + SEAL_AT);
    memcpy(as_sealed, bytes, META_BYTES);
    le64_put(as_sealed + TRANSACTION_AT, sealed);
    bool same = checksum(as_sealed, META_BYTES, 0) == le64_get(bytes + SEAL_AT + 8);
    return same == (sealed == transaction);
}

static bool meta_is_plausible(const lmdb_meta *m, uint64_t file_bytes) {
    uint64_t end;
    if (m->last_page < 1 || m->last_page == UINT64_MAX) return false;
    if (mul_overflows(m->last_page + 1, m->page_bytes, &end) || end > file_bytes || end > m->map_bytes) return false;
    return (m->free.flags & 0xff) == LMDB_INTEGER_KEYS && (m->main.flags & 0xff) == 0 &&
           lmdb_tree_is_plausible(&m->free, m->last_page) && lmdb_tree_is_plausible(&m->main, m->last_page);
}

static int check_root(os_file *file, const lmdb_meta *m, const lmdb_tree *t, cairn_error *error) {
    uint8_t p[LMDB_PAGE_HEAD];
    if (t->root == LMDB_ROOT_NONE) return CAIRN_OK;
    int code = lmdb_read(file, p, sizeof p, t->root * m->page_bytes, error);
    if (code != CAIRN_OK) return code;
    unsigned lower = le16_get(p + 12), upper = le16_get(p + 14);
    bool fits = le64_get(p) == t->root && le16_get(p + 10) == (t->depth == 1 ? LMDB_LEAF : LMDB_BRANCH) &&
                lower > LMDB_PAGE_HEAD && lower <= upper && upper <= m->page_bytes;
    if (fits && t->depth == 1) fits = (lower - LMDB_PAGE_HEAD) / 2 == t->entries;
    return fits ? CAIRN_OK : lmdb_damaged(error, "the root of a tree is none");
}

/* Both halves for what tells which of them is the newest one; then that one. The other one LMDB does not use, and may
 * itself have spoilt: after a failed write it puts the old number of the commit back, and nothing else. */
int ordered_head_check(os_file *file, lmdb_meta *meta, cairn_error *error) {
    os_file_info info;
    uint8_t bytes[2][HEAD_BYTES];
    lmdb_meta metas[2];
    int rc = os_file_info_get(file, &info);
    if (rc != 0) return status_os(error, rc, "cannot ask for the length of the ordered index");
    for (unsigned i = 0; i < 2; i++) {
        int code = lmdb_read(file, bytes[i], HEAD_BYTES, i == 0 ? 0 : metas[0].page_bytes, error);
        if (code != CAIRN_OK) return code;
        if (!meta_get(&metas[i], bytes[i], i) || metas[i].page_bytes != metas[0].page_bytes ||
            !seal_is_near(bytes[i], metas[i].transaction)) {
            return lmdb_damaged(error, "its head makes no sense");
        }
    }
    unsigned newest = metas[1].transaction > metas[0].transaction;
    const lmdb_meta *m = &metas[newest];
    if (m->transaction != metas[!newest].transaction + 1) {
        return lmdb_damaged(error, "the two halves of its head do not go together");
    }
    if (!seal_fits(bytes[newest], m->transaction) || !meta_is_plausible(m, info.size)) {
        return lmdb_damaged(error, "its head makes no sense");
    }
    int code = check_root(file, m, &m->free, error);
    if (code == CAIRN_OK) code = check_root(file, m, &m->main, error);
    if (code == CAIRN_OK) *meta = *m;
    return code;
}

void ordered_head_seal(os_file *file) {
    uint8_t bytes[HEAD_BYTES];
    lmdb_meta meta;
    uint64_t page_bytes = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (lmdb_read(file, bytes, sizeof bytes, i * page_bytes, NULL) != CAIRN_OK || !meta_get(&meta, bytes, i))
            return;
        page_bytes = meta.page_bytes;
        if (le64_get(bytes + SEAL_AT) == meta.transaction) continue;
        le64_put(bytes + SEAL_AT, meta.transaction);
        le64_put(bytes + SEAL_AT + 8, meta.sum);
        (void)os_file_write(file, bytes + SEAL_AT, SEAL_BYTES, i * page_bytes + SEAL_AT);
    }
}
