/* What is done behind the callers' backs: syncs within sync_interval_ms, sealing and preparing segments, checkpoints,
 * taking expired keys out of the index, compaction, absorbing keys into the ordered index and building that. Four
 * threads, so that a checkpoint never delays a sync, and the others neither. Without threads the next append does what
 * is due. */
#include "src/base/status.h"
#include "src/store/store.h"

#define KEEP_STEP_BYTES ((uint64_t)1 << 20) /* appended bytes between two looks at the segments */
#define EXPIRE_EVERY_MS 1000u               /* expired keys count for so long at most */
#define EXPIRE_AT_ONCE 64u                  /* by a put, where there are no threads */
/* So much was put since the last sync, or since write-back last began: it begins, so that the device works while the
 * writer does and the next sync waits for less. More often where a sync is all that writers wait for. */
#define WRITE_BACK_BYTES ((uint64_t)32 << 20)
#define WRITE_BACK_BYTES_NARROW ((uint64_t)2 << 20)
#define WRITE_BACK_AGAIN_MS 1u /* where it gave way */
#define COMPACT_AFTER_MS 100u  /* after the news that there is garbage */
#define COMPACT_AGAIN_MS 1000u /* where some is left that was held; then twice as long each time, up to ... */
#define COMPACT_AGAIN_MS_MAX 60000u
#define ORDER_AGAIN_MS 1000u /* after a build that failed; then twice as long each time, up to ... */
#define ORDER_AGAIN_MS_MAX 60000u
#define ORDER_PENDING_MAX ((uint64_t)256 << 20) /* with more to be absorbed puts wait, ... */
#define ORDER_WAIT_US 1000u
#define ORDER_WAIT_US_MAX 200000u /* ... up to so long */

static void complain(cairn *store, const char *what, const cairn_error *error) {
    store_say(store, CAIRN_LOG_ERROR, "%s: %s", what, error->message);
}

static void flush(cairn *store) {
    cairn_error error;
    if (vlog_failed(store->log)) return;
    int rc = vlog_sync(store->log, vlog_appended_place(store->log), &error);
    if (rc != CAIRN_OK) complain(store, "sync in the background", &error);
}

static void keep(cairn *store) {
    cairn_error error;
    if (vlog_failed(store->log)) return;
    atomic_store(&store->upkeep.kept_bytes, vlog_appended_bytes(store->log));
    int rc = vlog_maintain(store->log, &error);
    if (rc != CAIRN_OK) complain(store, "looking after segments", &error);
    if (rc != CAIRN_OK || !store_checkpoint_due(store)) return;
    rc = store_checkpoint(store, false, &error);
    if (rc != CAIRN_OK) complain(store, "checkpoint in the background", &error);
}

static void *run_flusher(void *arg) {
    cairn *store = arg;
    store_upkeep *u = &store->upkeep;
    os_mutex_lock(&u->lock);
    while (!u->stop) {
        if (!u->flush_wanted) {
            os_cond_wait(&u->wake_flusher, &u->lock);
            continue;
        }
        u->flush_wanted = false;
        uint64_t until = store->os->monotonic_ns(store->os) + store->options.sync_interval_ms * 1000000ull;
        for (uint64_t now; !u->stop && (now = store->os->monotonic_ns(store->os)) < until;) {
            if (u->write_back_wanted) {
                u->write_back_wanted = false;
                os_mutex_unlock(&u->lock);
                bool done = vlog_write_back(store->log);
                os_mutex_lock(&u->lock);
                u->write_back_wanted = u->write_back_wanted || !done;
                if (!done) os_cond_wait_ms(&u->wake_flusher, &u->lock, WRITE_BACK_AGAIN_MS);
            } else {
                os_cond_wait_ms(&u->wake_flusher, &u->lock, (until - now) / 1000000 + 1);
            }
        }
        u->write_back_wanted = false;
        atomic_store(&u->flush_signalled, false);
        os_mutex_unlock(&u->lock);
        atomic_store(&u->written_back_bytes, vlog_appended_bytes(store->log));
        flush(store);
        os_mutex_lock(&u->lock);
    }
    os_mutex_unlock(&u->lock);
    return NULL;
}

static void expire(cairn *store, size_t most) {
    if (expiry_next_ms(store->expiries) > store_now(store)) return;
    (void)store_expire(store, most);
    store_expiries_tidy(store);
}

static void *run_keeper(void *arg) {
    cairn *store = arg;
    store_upkeep *u = &store->upkeep;
    os_mutex_lock(&u->lock);
    while (!u->stop) {
        bool expires = expiry_next_ms(store->expiries) != EXPIRY_NEVER;
        if (!u->keep_wanted && expires) {
            os_cond_wait_ms(&u->wake_keeper, &u->lock, EXPIRE_EVERY_MS);
        } else if (!u->keep_wanted) {
            os_cond_wait(&u->wake_keeper, &u->lock);
        }
        bool wanted = u->keep_wanted && !u->stop;
        u->keep_wanted = false;
        atomic_store(&u->keep_signalled, false);
        os_mutex_unlock(&u->lock);
        if (wanted) keep(store);
        expire(store, SIZE_MAX);
        os_mutex_lock(&u->lock);
    }
    os_mutex_unlock(&u->lock);
    return NULL;
}

/* Looks at once after the opening; then when it is told that there is more garbage, and now and then as long as there
 * is more than should be: what holds it may have gone. */
static void *run_compactor(void *arg) {
    cairn *store = arg;
    store_upkeep *u = &store->upkeep;
    uint64_t again_ms = 0;
    os_mutex_lock(&u->lock);
    u->compact_wanted = true;
    while (!u->stop) {
        if (!u->compact_wanted && again_ms == 0) {
            os_cond_wait(&u->wake_compactor, &u->lock);
            continue;
        }
        /* More is likely to come; and one look serves for all of it. But nobody waits longer for it than must be. */
        atomic_store(&u->compact_urged, false); /* whoever is slowed from now on ends the wait */
        uint64_t after_ms = u->compact_wanted ? COMPACT_AFTER_MS : again_ms;
        if (!store_space_is_urgent(store)) os_cond_wait_ms(&u->wake_compactor, &u->lock, after_ms);
        bool told = u->compact_wanted;
        u->compact_wanted = false;
        atomic_store(&u->compact_signalled, false);
        if (u->stop) break;
        os_mutex_unlock(&u->lock);
        bool settled = store_compact_in_background(store);
        os_mutex_lock(&u->lock);
        again_ms = settled ? 0 : told ? COMPACT_AGAIN_MS : min_u64(2 * again_ms, COMPACT_AGAIN_MS_MAX);
    }
    os_mutex_unlock(&u->lock);
    return NULL;
}

static void *run_orderer(void *arg) {
    cairn *store = arg;
    store_upkeep *u = &store->upkeep;
    uint64_t again_ms = 0;
    os_mutex_lock(&u->lock);
    while (!u->stop) {
        if (again_ms > 0) {
            os_cond_wait_ms(&u->wake_orderer, &u->lock, again_ms);
        } else if (!u->order_wanted) {
            os_cond_wait(&u->wake_orderer, &u->lock);
            continue;
        }
        if (u->stop) break;
        u->order_wanted = false;
        os_mutex_unlock(&u->lock);
        bool done = store_ordered_upkeep(store);
        os_mutex_lock(&u->lock);
        again_ms = done ? 0 : again_ms == 0 ? ORDER_AGAIN_MS : min_u64(2 * again_ms, ORDER_AGAIN_MS_MAX);
        atomic_store(&u->order_signalled, false);
    }
    os_mutex_unlock(&u->lock);
    return NULL;
}

void store_upkeep_wake_orderer(cairn *store) {
    store_upkeep *u = &store->upkeep;
    os_mutex_lock(&u->lock);
    u->order_wanted = true;
    os_cond_signal(&u->wake_orderer);
    os_mutex_unlock(&u->lock);
}

static void absorb_without_threads(cairn *store) {
    store_upkeep *u = &store->upkeep;
    cairn_error error;
    if (!store_ordered_is_due(store) || atomic_exchange(&u->order_signalled, true)) return; /* one at a time */
    int rc = store_ordered_absorb(store, &error);
    if (rc != CAIRN_OK) complain(store, "the ordered index", &error);
    atomic_store(&u->order_signalled, false);
}

/* Where keys come faster than they are absorbed. */
static void wait_for_orderer(const cairn *store) {
    const store_ordered *o = &store->ordered;
    for (uint64_t waited = 0; waited < ORDER_WAIT_US_MAX; waited += ORDER_WAIT_US) {
        if (overlay_pending_bytes(o->changes) < ORDER_PENDING_MAX || atomic_load(&o->building)) return;
        os_nap_us(ORDER_WAIT_US);
    }
}

static void without_threads(cairn *store) {
    store_upkeep *u = &store->upkeep;
    if (store->options.durability == CAIRN_DURABILITY_DEFAULT) {
        uint64_t now = store->os->monotonic_ns(store->os) | 1, since = 0; /* never 0 */
        if (!atomic_compare_exchange_strong(&u->unsynced_ns, &since, now) &&
            now - since >= store->options.sync_interval_ms * 1000000ull) {
            atomic_store(&u->unsynced_ns, 0);
            flush(store);
        }
    }
    if (atomic_load(&store->expiring) > 0) expire(store, EXPIRE_AT_ONCE);
    absorb_without_threads(store);
    bool due = vlog_appended_bytes(store->log) - atomic_load(&u->kept_bytes) >= KEEP_STEP_BYTES;
    if (!due || atomic_exchange(&u->keep_signalled, true)) return; /* one at a time */
    keep(store);
    atomic_store(&u->keep_signalled, false);
}

/* Waking a thread costs as much as a small put, so it is done only when there is something to do. */
enum { NEWS_FLUSH = 1, NEWS_WRITE_BACK = 2, NEWS_KEEP = 4, NEWS_COMPACT = 8 };

static void wake(store_upkeep *u, unsigned news) {
    os_mutex_lock(&u->lock);
    u->flush_wanted = u->flush_wanted || (news & NEWS_FLUSH) != 0;
    u->write_back_wanted = u->write_back_wanted || (news & NEWS_WRITE_BACK) != 0;
    u->keep_wanted = u->keep_wanted || (news & NEWS_KEEP) != 0;
    u->compact_wanted = u->compact_wanted || (news & NEWS_COMPACT) != 0;
    if ((news & (NEWS_FLUSH | NEWS_WRITE_BACK)) != 0) os_cond_signal(&u->wake_flusher);
    if ((news & NEWS_KEEP) != 0) os_cond_signal(&u->wake_keeper);
    if ((news & NEWS_COMPACT) != 0) os_cond_signal(&u->wake_compactor);
    os_mutex_unlock(&u->lock);
}

/* Of all that see the same, the first one tells, until it was heard. */
static bool is_first(atomic_bool *signalled) {
    return !atomic_load_explicit(signalled, memory_order_relaxed) && !atomic_exchange(signalled, true);
}

static bool steps_on(_Atomic uint64_t *from, uint64_t to, uint64_t step) {
    uint64_t before = atomic_load_explicit(from, memory_order_relaxed);
    return to >= before + step && atomic_compare_exchange_strong(from, &before, to);
}

static unsigned news_for_flusher(cairn *store, bool is_narrow) {
    store_upkeep *u = &store->upkeep;
    if (store->options.durability != CAIRN_DURABILITY_DEFAULT) return 0;
    unsigned news = is_first(&u->flush_signalled) ? NEWS_FLUSH : 0;
    uint64_t step = is_narrow ? WRITE_BACK_BYTES_NARROW : WRITE_BACK_BYTES;
    if (steps_on(&u->written_back_bytes, vlog_appended_bytes(store->log), step)) news |= NEWS_WRITE_BACK;
    return news;
}

static unsigned news_for_keeper(cairn *store) {
    store_upkeep *u = &store->upkeep;
    unsigned news = 0;
    if (steps_on(&u->kept_bytes, vlog_appended_bytes(store->log), KEEP_STEP_BYTES)) {
        bool due = vlog_upkeep_due(store->log) || store_checkpoint_due(store);
        if (due && is_first(&u->keep_signalled)) news = NEWS_KEEP;
    }
    /* The keeper sleeps for ever as long as nothing expires. */
    if (atomic_load(&store->expiring) > 0 && is_first(&u->watches_expiries)) news = NEWS_KEEP;
    return news;
}

/* Where writers are slowed it is told at once, also when it waits for more to come. */
static unsigned news_for_compactor(cairn *store, bool is_narrow) {
    store_upkeep *u = &store->upkeep;
    if (is_narrow && store_space_is_urgent(store) && is_first(&u->compact_urged)) return NEWS_COMPACT;
    if (atomic_load_explicit(&u->compact_signalled, memory_order_relaxed) || !store_space_is_due(store, is_narrow))
        return 0;
    return is_first(&u->compact_signalled) ? NEWS_COMPACT : 0;
}

void store_upkeep_note(cairn *store, uint64_t bytes) {
    store_upkeep *u = &store->upkeep;
    if (store->options.no_background) {
        without_threads(store);
        return;
    }
    bool is_narrow = store_space_is_narrow(store);
    unsigned news = news_for_flusher(store, is_narrow) | news_for_keeper(store) | news_for_compactor(store, is_narrow);
    if (news != 0) wake(u, news);
    if (store_ordered_is_due(store)) {
        if (is_first(&u->order_signalled)) store_upkeep_wake_orderer(store);
        wait_for_orderer(store);
    }
    if (is_narrow) store_space_brake(store, bytes);
}

void store_upkeep_unpinned(cairn *store) {
    store_upkeep *u = &store->upkeep;
    if (!store_has_threads(store) || !store_space_is_over(store)) return;
    if (is_first(&u->compact_signalled)) wake(u, NEWS_COMPACT);
}

static void stop_threads(store_upkeep *u, size_t started) {
    atomic_store(&u->stopping, true);
    os_mutex_lock(&u->lock);
    u->stop = true;
    os_cond_signal(&u->wake_flusher);
    os_cond_signal(&u->wake_keeper);
    os_cond_signal(&u->wake_compactor);
    os_cond_signal(&u->wake_orderer);
    os_mutex_unlock(&u->lock);
    for (size_t i = 0; i < started; i++) {
        os_thread_join(&u->threads[i]);
    }
}

int store_upkeep_start(cairn *store, cairn_error *error) {
    store_upkeep *u = &store->upkeep;
    if (!store_has_threads(store)) return CAIRN_OK;
    void *(*const run[UPKEEP_THREADS])(void *) = {run_flusher, run_keeper, run_compactor, run_orderer};
    int rc = 0;
    size_t started = 0;
    u->order_wanted = store->ordered.in_background;
    for (; rc == 0 && started < UPKEEP_THREADS; started += rc == 0) {
        rc = os_thread_start(&u->threads[started], run[started], store);
    }
    u->running = rc == 0;
    if (rc == 0) return CAIRN_OK;
    stop_threads(u, started);
    return status_os(error, rc, "cannot start a thread");
}

void store_upkeep_stop(cairn *store) {
    store_upkeep *u = &store->upkeep;
    if (!u->running) return;
    stop_threads(u, UPKEEP_THREADS);
    u->running = false;
}
