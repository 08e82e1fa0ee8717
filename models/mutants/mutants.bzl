"""The mutants: the file with the fault, the scenario that must catch it, and what it reports.

`kinds` are alternatives of a regular expression. `order` marks a memory order made one step weaker:
only Relacy reads values that such an order permits. This file is read by models/scorecard.py too,
so it keeps to what Starlark and Python have in common.
"""

def _mutant(file, scenario, kinds, order = False, args = []):
    package = file.split("/")[0]
    return struct(
        file = "//" + file.replace("/", ":"),
        of = "//%s:%s" % (package, package),
        scenario = scenario,
        kinds = kinds,
        order = order,
        args = args,
    )

_TABLE = {
    "hat/hment.cc": {
        "insert_counts_heads_only": (
            "hment/two_threads_promote_an_embedded_mapping", "assertion",
        ),
        "insert_no_back_link": ("hment/two_threads_promote_an_embedded_mapping", "assertion"),
        "mapcnt_unlocked": ("hment/mapcnt_during_promotion", "data race|assertion"),
        "prepare_allocates_under_mlist": (
            "hment_steal/promotion_without_memory_against_unload",
            "recursion on a mutex|deadlock|lock misuse|panic",
        ),
        "prepare_leaks_spare": ("hment/promotion_against_unmap_of_the_only_mapping", "assertion"),
        "prepare_no_promotion": ("hment/two_threads_add_the_first_mapping", "assertion"),
        "prepare_no_recheck": (
            "hment/one_more_mapping_against_unmap_of_a_list_of_one", "assertion",
        ),
        "remove_keeps_back_link": (
            "unload/pageunload_against_unload_of_a_listed_page", "use after free|assertion",
        ),
        "remove_keeps_empty_list": (
            "unload/pageunload_against_unload_of_a_listed_page", "use after free|assertion",
        ),
        "remove_keeps_share": ("unload/pageunload_against_unload_of_a_listed_page", "assertion"),
    },
    "hat/hment_index_chain.cc": {
        "chain_insert_unlocked": ("hment/two_records_in_one_bucket_chain", "data race"),
        "chain_insert_wrong_lock": ("hment/two_records_in_one_of_two_buckets_chain", "data race"),
        "chain_remove_ignores_pfn": (
            "hment/unmap_against_map_of_another_page_chain", "assertion",
        ),
        "chain_remove_unlocked": ("hment/two_records_in_one_bucket_chain", "data race"),
    },
    "hat/hment_index_avl.cc": {
        "avl_insert_unlocked": ("hment/two_records_in_one_bucket_avl", "data race"),
        "avl_remove_keeps_root": ("hment/two_records_in_one_bucket_avl", "panic|assertion"),
        "avl_remove_wrong_lock": ("hment/two_records_in_one_of_two_buckets_avl", "data race"),
    },
    "hat/hment_index.cc": {
        "compare_ignores_pfn": ("hment/unmap_against_map_of_another_page_avl", "assertion"),
    },
    "hat/hment_reserve.cc": {
        "hment_alloc_gives_up": ("hment_steal/two_allocations_and_one_table_of_victims", "panic"),
        "hment_leak": ("hment/two_faults_on_one_address_of_a_listed_page", "assertion"),
        "hment_thief_ignores_locks": (
            "hment_steal/steal_against_locking_of_a_mapping", "assertion",
        ),
        "hment_thief_keeps_mlist": (
            "hment_steal/shared_hats_are_spared",
            "lock held at thread end|deadlock|recursion on a mutex",
        ),
        "reserve_get_keeps_count": ("hment_steal/reserve_put_against_get", "assertion"),
        "reserve_put_unlocked": ("hment_steal/reserve_put_against_get", "data race"),
        "kernel_hment_stolen": ("hment_steal/kernel_mappings_are_spared", "assertion|panic"),
        "hment_steal_skips_start": (
            "hment_steal/two_allocations_and_one_table_of_victims",
            "panic",
        ),
    },
    "hat/htable.cc": {
        "create_leaks_loser": ("htable/two_threads_create_a_table", "assertion"),
        "create_leaks_parent_hold": ("htable/two_threads_create_a_table", "assertion"),
        "create_no_second_search": ("htable/two_threads_create_a_table", "panic"),
        "create_no_sharee_hold": ("share/unshare_against_pageunload_at_the_source", "assertion"),
        "lookup_no_hold": ("htable/lookup_against_the_last_release", "assertion"),
        "lookup_wrong_bucket": (
            "htable/release_cascade_against_creation_of_the_child", "assertion",
        ),
        "release_drops_mutex_between": (
            "htable/lookup_against_the_last_release", "assertion|use after free|data race",
        ),
        "release_frees_busy": (
            "htable/lookup_against_the_last_release", "use after free|assertion|panic",
        ),
        "release_keeps_parent": (
            "htable/release_cascade_against_creation_of_the_child", "assertion",
        ),
        "release_lowers_unlocked": ("htable/two_threads_release_an_empty_table", "assertion"),
    },
    "hat/htable_link.cc": {
        "unlink_flushes_first": (
            "shootdown/end_of_a_table_against_walk_shootdown", "assertion|panic",
        ),
        "unlink_keeps_count": (
            "htable/release_cascade_against_creation_of_the_child", "assertion",
        ),
    },
    "hat/htable_alloc.cc": {
        "free_takes_sharees_frame": (
            "share/unshare_against_pageunload_at_the_source", "assertion",
        ),
        "new_table_not_zeroed": ("shootdown/new_table_against_walk", "assertion|panic"),
        "ptable_free_frees_after_wait_unnamed": (
            "memory/ptable_free_against_a_reader", "assertion",
        ),
        "uncache_trusts_peek": (
            "htable/two_creations_and_one_cached_table", "data race|assertion",
        ),
        "uncache_unlocked": ("htable/two_creations_and_one_cached_table", "data race"),
        "create_leaks_frame": ("share/shared_table_without_memory_against_the_victim", "assertion"),
        "create_leaks_bare": (
            "steal/creation_without_memory_against_use_of_the_victim",
            "assertion",
        ),
        "purge_caches_again": ("load/locked_large_page_unlocked_and_swapped_out", "livelock"),
        "table_keeps_promise": ("memory/ptable_free_against_a_reader", "assertion|panic"),
    },
    "hat/htable_steal.cc": {
        "steal_ignores_freeing": (
            "exit/htable_steal_against_exit",
            "assertion|use after free", False, ["--search=bound", "--preemptions=2"],
        ),
        "steal_keeps_parent_hold": ("steal/steal_against_unload", "assertion"),
        "steal_leaks_hold": ("steal/steal_against_load_into_the_table", "assertion"),
        "steal_marks_nobody": (
            "exit/htable_steal_against_exit", "assertion|use after free|data race",
        ),
        "steal_no_recheck": (
            "steal/steal_against_load_into_the_table",
            "assertion|panic|use after free|data race",
        ),
        "steal_under_htable": ("steal/steal_against_pageunload", "deadlock|lock order"),
        "victim_no_wakeup": ("exit/htable_steal_against_exit", "lost wake-up"),
        "victim_wakeup_if_enough": ("exit/thief_that_finds_nothing_against_exit", "lost wake-up"),
        "steal_ignores_victim": ("exit/thief_and_exit_against_a_thief", "use after free|assertion"),
        "steal_from_shared": ("steal/shared_address_spaces_are_spared", "assertion"),
        "steal_shared_table": ("steal/steal_against_access_of_a_sharer", "assertion"),
        "robbed_hat_loses_link": ("steal/two_thieves_and_three_address_spaces", "assertion|panic"),
    },
    "hat/hat_load.cc": {
        "load_counts_offlist_late": (
            "unload/load_of_an_off_list_mapping_against_unload", "assertion",
        ),
        "load_counts_offlist_twice": ("unload/two_loads_of_one_off_list_mapping", "assertion"),
        "load_locks_late": ("steal/steal_against_a_locking_load", "assertion"),
        "array_ignores_frames": ("load/arrays_of_large_and_small_pages", "assertion|panic"),
        "array_ignores_alignment": ("load/arrays_of_large_and_small_pages", "assertion|panic"),
        "devload_off_list": ("load/devload_of_memory_against_pageunload", "assertion"),
        "large_run_ignores_size": ("load/arrays_of_large_and_small_pages", "assertion|panic"),
    },
    "hat/hat_unload.cc": {
        "clear_any_page": ("unload/unload_against_replacement_of_the_page", "assertion"),
        "clear_keeps_mlist_of_offlist": (
            "unload/two_loads_of_one_off_list_mapping",
            "assertion|lock held at thread end|recursion on a mutex",
        ),
        "lock_count_kept": ("unload/locked_large_load_meets_a_page_table", "assertion"),
        "thief_ignores_locks": ("steal/steal_against_locking_of_a_mapping", "assertion"),
        "unmap_keeps_valid_cnt": ("unload/two_unloads_of_one_address", "assertion"),
        "unmap_no_sync": ("refmod/unload_against_write_captured", "assertion"),
        "ranges_overflow": ("unload/more_ranges_than_are_collected", "assertion|crash|panic"),
        "ranges_not_reset": ("unload/more_ranges_than_are_collected", "assertion|crash|panic"),
        "unlock_counts_small_pages": (
            "load/locked_large_page_unlocked_and_swapped_out",
            "assertion|panic",
        ),
    },
    "hat/hat_page.cc": {
        "demote_keeps_large_mapping": ("unload/mapcnt_during_demotion", "assertion"),
        "page_unmap_announced_late": ("exit/pageunload_against_exit", "use after free|data race"),
        "page_unmap_counts_late": ("unload/pageunload_against_unload", "assertion"),
        "page_unmap_no_sync": ("refmod/hment_steal_against_write", "assertion"),
        "pages_mapped_leak": ("unload/pageunload_against_unload", "assertion"),
        "pagesync_drops_bits": ("refmod/pagesync_against_write", "assertion"),
        "pageunload_stops_early": (
            "share/copy_against_reuse_of_the_page", "panic|assertion",
        ),
        "pageunload_wrong_level": (
            "unload/large_unload_against_a_page_table_in_its_place", "panic|assertion",
        ),
        "unmapper_acq_rel": ("exit/pageunload_against_exit", "lost wake-up", True),
        "unmapper_no_wakeup": ("exit/pageunload_against_exit", "lost wake-up"),
        "unmapper_wakes_unlocked": ("exit/pageunload_against_exit", "lost wake-up"),
        "page_unmap_releases_under_mlist": (
            "exit/pageunload_against_exit",
            "recursion on a mutex|deadlock|lock order",
        ),
        "update_moves_not_nosync": ("refmod/setattr_to_not_synced_against_write", "assertion"),
        "sync_first_constituent": (
            "refmod/pagesync_of_half_a_large_page_against_write",
            "assertion",
        ),
    },
    "hat/hat_page_refmod.cc": {
        "clear_bits_tries_once": ("refmod/clrmod_against_two_writes", "assertion"),
        "clrattr_after_mappings": ("refmod/clrmod_against_write", "assertion"),
        "refmod_small_of_leader": (
            "refmod/pagesync_of_a_page_beside_one_that_is_written",
            "assertion",
        ),
        "refmod_one_size": ("refmod/pagesync_of_half_a_large_page_against_write", "assertion"),
        "pagesync_never_stops": ("refmod/pagesync_that_may_stop", "assertion"),
        "pagesync_stops_at_ref": ("refmod/pagesync_that_may_stop", "assertion"),
        "pagesync_stops_when_clearing": ("refmod/pagesync_that_may_stop", "assertion"),
        "pagesync_shares_one_less": ("refmod/pagesync_that_may_stop", "assertion"),
    },
    "hat/hat_attr.cc": {
        "updateattr_tries_once": ("refmod/two_changes_of_one_mapping", "assertion"),
        "sync_clears_shared": ("refmod/hat_sync_through_a_sharer_against_write", "assertion"),
        "sync_no_recheck": ("refmod/hat_sync_against_replacement_of_the_page", "assertion"),
        "setattr_nosync_bits": ("refmod/setattr_to_not_synced_against_write", "assertion"),
        "getpfnum_first_of_large": ("load/arrays_of_large_and_small_pages", "assertion"),
        "chgprot_ends_nosync": ("refmod/attributes_set_cleared_and_replaced", "assertion"),
        "clrattr_gives_exec": ("refmod/attributes_set_cleared_and_replaced", "assertion"),
        "updateattr_one_page_more": ("refmod/attributes_set_cleared_and_replaced", "assertion"),
    },
    "hat/pte_ops.cc": {
        "link_relaxed": ("shootdown/new_table_against_walk", "panic|assertion", True),
        "set_loses_refmod": ("refmod/reload_against_write", "assertion"),
        "set_no_flush": ("refmod/reload_against_write", "assertion"),
        "set_relaxed": ("shootdown/new_mapping_against_access", "assertion", True),
        "update_flushes_first": ("refmod/chgprot_against_read_and_write", "assertion"),
        "update_keeps_late_write": ("refmod/chgprot_against_two_writes_blind", "assertion"),
        "update_no_flush": ("refmod/chgprot_against_write", "assertion"),
        "get_relaxed": (
            "shootdown/hat_getpfnum_against_new_mapping", "assertion", True,
        ),
    },
    "hat/pte_invalidation_captured.cc": {
        "captured_no_switch_mutex": ("shootdown/unload_against_hat_switch_captured", "panic"),
        "captured_stores_zero": ("refmod/unload_against_write_captured", "assertion"),
        "captured_no_second_look": ("shootdown/unload_against_the_first_sharing_captured", "panic"),
    },
    "hat/pte_invalidation_shootdown.cc": {
        "inval_acq_rel": ("shootdown/unload_against_hat_switch_shootdown", "panic", True),
        "inval_flushes_modified_only": ("shootdown/unload_against_access_shootdown", "panic"),
        "inval_no_flush": ("shootdown/unload_against_access_shootdown", "panic"),
    },
    "hat/shootdown.cc": {
        "idle_overwrites_word": (
            "shootdown/kernel_unload_against_an_idle_cpu", "panic|assertion",
        ),
        "idle_takes_no_note": ("shootdown/kernel_unload_against_an_idle_cpu", "panic"),
        "inval_spares_self": ("shootdown/two_initiators_shootdown", "assertion"),
        "switch_joins_unlocked": ("shootdown/unload_against_hat_switch_captured", "panic"),
        "switch_never_joins": (
            "shootdown/unload_against_hat_switch_shootdown", "assertion|panic",
        ),
        "wake_takes_word_in_two": ("shootdown/kernel_unload_against_idling_twice", "panic"),
    },
    "hat/hat_life.cc": {
        "alloc_joins_list_unlocked": (
            "exit/creation_of_an_address_space_against_exit", "data race",
        ),
        "exit_announces_late": ("exit/pageunload_against_exit", "lost wake-up"),
        "exit_ignores_victim": ("exit/htable_steal_against_exit", "use after free|assertion"),
        "exit_leaves_list_unlocked": ("exit/two_exits", "data race"),
        "exit_waits_once": (
            "exit/htable_steal_against_exit",
            "assertion", False, ["--executions=10000"],
        ),
        "unmappers_waited_once": ("exit/two_pageunloads_against_exit", "use after free|data race"),
        "swapout_ignores_locks": ("unload/swapout_against_a_locking_load", "assertion"),
        "swapout_skips_tables": ("load/locked_large_page_unlocked_and_swapped_out", "assertion"),
        "exit_keeps_list_tail": (
            "exit/htable_steal_against_exit", "assertion|panic|use after free",
        ),
    },
    "hat/hat_share.cc": {
        "share_copy_no_recheck": ("share/copy_against_reuse_of_the_page", "assertion|panic"),
        "unshare_no_flush": ("shootdown/unshare_against_access", "panic|assertion"),
        "copy_keeps_page": ("share/copy_against_reuse_of_the_page", "assertion"),
        "share_gap": ("share/upper_table_with_a_gap", "assertion|panic"),
        "share_unlocked_upper": ("share/upper_table_without_locks", "assertion|panic"),
        "share_misaligned": ("share/parts_of_a_table_and_other_alignment", "assertion|panic"),
        "share_no_probe": ("share/a_table_where_the_sharer_has_a_large_page", "assertion|panic"),
        "share_other_table": ("share/a_table_where_the_sharer_has_a_large_page", "assertion|panic"),
        "copy_twice": ("share/parts_of_a_table_and_other_alignment", "assertion|panic"),
    },
    "hat/reserve_ownership_thread.cc": {
        "depth_exit_weight": ("memory/two_nested_loads_by_thread", "assertion"),
        "owner_no_wakeup": ("memory/two_nested_loads_by_thread", "lost wake-up"),
        "owner_waits_once": ("memory/two_nested_loads_each_by_thread", "assertion"),
    },
    "hat/reserve_ownership_depth.cc": {
        "depth_nested_from_one": ("memory/nested_load_against_load_by_depth", "assertion"),
    },
    "hat/kpm_mapping_on_demand.cc": {
        "kpm_mapin_counts_twice": ("segmap/kpm_two_getmaps_of_one_piece", "assertion"),
        "kpm_mapin_unlocked": ("segmap/kpm_two_getmaps_of_one_piece", "data race|assertion"),
        "kpm_pageunload_keeps_mapping": ("segmap/kpm_pageunload_against_getmap", "assertion"),
        "kpme_link_relaxed": (
            "segmap/kpm_pageunload_against_reuse_for_another_page", "data race", True,
        ),
        "kpme_unlink_relaxed": (
            "segmap/kpm_pageunload_against_reuse_for_another_page", "data race", True,
        ),
    },
    "vm/page_lock.cc": {
        "page_downgrade_no_wakeup": (
            "segmap/kpm_two_getmaps_of_one_piece", "lost wake-up|deadlock",
        ),
        "page_io_lock_waits_once": ("segmap/three_syncs_of_one_page", "panic|assertion"),
        "page_io_unlock_no_wakeup": ("segmap/two_syncs_of_one_page", "lost wake-up"),
        "page_lock_sleeps_late": ("memory/ptable_free_against_a_reader", "lost wake-up"),
        "page_trylock_unlocked": (
            "memory/ptable_free_against_a_reader", "assertion|panic|lost wake-up",
        ),
        "page_unlock_no_wakeup": ("memory/ptable_free_against_a_reader", "lost wake-up"),
        "page_unlock_wakes_for_readers": ("memory/ptable_free_against_a_reader", "lost wake-up"),
        "page_upgrade_beside_reader": ("memory/ptable_free_against_a_reader", "panic|assertion"),
    },
    "vm/page_cache.cc": {
        "hashin_unlocked": ("segmap/two_pagecreates_of_one_page", "assertion|panic|data race"),
        "lookup_no_recheck": ("segmap/lookup_against_rename", "assertion"),
        "lookup_nowait_no_recheck": ("segmap/lookup_without_waiting_against_rename", "assertion"),
    },
    "vm/page_list.cc": {
        "memory_waiter_announces_late": ("memory/allocation_against_a_free", "lost wake-up"),
        "promise_not_checked": ("memory/two_allocations_of_the_last_page", "livelock|assertion"),
        "unpromise_acq_rel": ("memory/allocation_against_a_free", "lost wake-up", True),
        "unpromise_no_wakeup": ("memory/allocation_against_a_free", "lost wake-up"),
        "unpromise_wakes_unlocked": ("memory/allocation_against_a_free", "lost wake-up"),
    },
    "vm/getpage.cc": {
        "readahead_keeps_page": ("segmap/read_ahead_against_fault", "assertion"),
        "failed_read_keeps_page": ("segmap/two_faults_of_which_one_fails", "assertion"),
    },
    "vm/putpage.cc": {
        "putpage_cleans_late": ("segmap/sync_against_write", "assertion"),
        "putpage_forgets_error": ("segmap/two_syncs_of_which_one_fails", "assertion"),
        "freeable_no_recheck": ("segmap/write_by_a_process_against_pageout", "assertion"),
    },
    "segmap/segmap.cc": {
        "inval_no_unload": ("segmap/last_release_with_inval_of_a_locked_page", "assertion"),
        "loser_loses_slot": ("segmap/two_getmaps_of_one_piece", "assertion"),
        "refcnt_early": ("segmap/two_releases_of_one_slot", "panic"),
        "release_samples_late": (
            "segmap/last_release_with_inval_against_getmap", "data race|crash|panic",
        ),
        "release_unlocks_kpm_page_first": (
            "segmap/kpm_last_release_with_inval_against_getmap",
            "assertion|deadlock|lost wake-up",
        ),
        "use_no_recheck": ("segmap/reclaim_against_recycling_of_two", "assertion|panic|crash"),
        "use_no_reclaim": ("segmap/getmap_against_last_release", "assertion|panic"),
        "destroy_writes": ("segmap/last_release_with_destroy_against_getmap", "assertion"),
        "kpm_write_not_noted": ("segmap/kpm_last_release_with_inval_against_getmap", "assertion"),
    },
    "segmap/segmap_fault.cc": {
        "bitmap_set_unlocked": ("segmap/pagecreates_of_two_pages_of_a_slot", "assertion"),
        "fault_hides_first_write": ("segmap/write_after_read_of_a_sorted_vnode", "assertion"),
        "fault_keeps_page": (
            "segmap/pageunload_between_fault_and_copy", "deadlock|lost wake-up|assertion",
        ),
        "fault_marks_unlocked": (
            "segmap/first_write_against_a_walk_of_a_sorted_vnode", "assertion",
        ),
        "pagecreate_marks_unlocked": (
            "segmap/pagecreate_against_a_walk_of_a_sorted_vnode", "assertion",
        ),
        "pagecreate_unlocks": (
            "segmap/pagecreate_against_fault", "assertion|panic|lost wake-up",
        ),
        "softlock_unlocks": ("segmap/softlock_against_pageout", "assertion|panic"),
        "softunlock_keeps_page": (
            "segmap/softlock_against_pageout", "assertion|deadlock|lost wake-up",
        ),
        "unload_leaves_flush_to_others": ("segmap/recycling_against_pageunload", "assertion"),
        "softunlock_not_noted": ("segmap/device_write_into_a_soft_locked_page", "assertion"),
    },
    "segmap/segmap_kpm.cc": {
        "kpm_fast_no_identity": (
            "segmap/kpm_getmap_against_reuse_of_the_page", "assertion|panic",
        ),
        "kpm_hint_no_recheck": ("segmap/kpm_two_windows_of_one_cpu", "assertion|panic"),
        "kpm_inval_no_recheck": (
            "segmap/kpm_inval_of_a_plain_window_against_pageunload", "assertion",
        ),
        "kpm_newpage_unlocked": ("segmap/kpm_two_pagecreates_of_one_page", "data race"),
        "lockproto_ignored": ("segmap/kpm_two_windows_at_the_end_of_the_file", "assertion"),
        "lockproto_keeps_page": ("segmap/kpm_two_windows_at_the_end_of_the_file", "assertion"),
        "kpm_fast_takes_free": ("segmap/kpm_getmap_against_pageout", "assertion|panic"),
        "kpm_unlock_forgets_write": (
            "segmap/kpm_device_write_into_a_soft_locked_window", "assertion",
        ),
        "kpm_fault_takes_any": ("segmap/kpm_device_write_into_a_soft_locked_window", "assertion"),
    },
    "segmap/smap_freelist.cc": {
        "kpm_no_recheck": ("segmap/kpm_pageunload_against_recycling", "assertion"),
        "recycle_no_unload": ("segmap/recycling_while_the_page_is_held", "assertion"),
        "ring_tail_not_linked": ("segmap/two_getmaps_of_two_pieces", "assertion|panic|crash"),
        "scan_enters": ("segmap/reclaim_against_recycling", "deadlock|lock order"),
        "unqueue_unlocked": ("segmap/reclaim_against_recycling_of_two", "data race"),
        "wrong_queue_flag": ("segmap/getmap_against_last_release", "assertion|panic|crash"),
        "append_names_other_queue": (
            "segmap/release_against_exchange_of_queues",
            "assertion|panic|crash",
        ),
    },
    "segmap/smap_hash.cc": {
        "find_unlocked": ("segmap/two_getmaps_of_one_piece", "data race"),
        "hashin_no_search": ("segmap/two_getmaps_of_one_piece", "assertion"),
        "hashout_unlocked": ("segmap/reclaim_against_recycling", "data race"),
    },
    "segmap/smap_waiting_counted.cc": {
        "busy_is_absent": ("segmap/a_free_slot_that_is_busy_for_a_moment", "lost wake-up"),
        "busy_slot_no_recheck": ("segmap/reclaim_against_recycling", "assertion|panic"),
        "look_before_count": ("segmap/one_slot_for_two_pieces", "lost wake-up"),
        "no_signal": ("segmap/one_slot_for_two_pieces", "lost wake-up"),
        "signal_before_append": ("segmap/one_slot_for_two_pieces", "lost wake-up"),
        "wakes_for_empty_queue_only": (
            "segmap/two_waiters_two_releases",
            "lost wake-up", False, ["--search=bound", "--preemptions=1"],
        ),
        "wakes_one_of_two": (
            "segmap/two_waiters_two_releases",
            "lost wake-up", False, ["--search=bound", "--preemptions=1"],
        ),
        "scans_first_list_only": (
            "segmap/release_to_the_list_looked_through_last",
            "lost wake-up|livelock",
        ),
        "releq_entered": (
            "segmap/reclaim_against_recycling",
            "deadlock|lock order|recursion on a mutex",
        ),
    },
    "hat/htable_walk.cc": {
        "walk_ends_at_gap": ("load/unload_that_begins_behind_a_mapping", "assertion|panic"),
        "walk_keeps_hold": ("load/arrays_of_large_and_small_pages", "assertion|panic"),
    },
    "vm/page_free.cc": {
        "unresv_no_wakeup": ("memory/a_reservation_against_a_return", "lost wake-up"),
        "resv_takes_reserve": ("memory/a_reservation_against_a_return", "assertion"),
        "release_ignores_kpm_users": (
            "segmap/kpm_free_of_a_page_that_a_slot_has_mapped_in", "assertion|panic",
        ),
    },
    "vm/page_large.cc": {
        "demoted_page_stays_mapped": (
            "unload/demotion_by_the_page_layer_against_a_sharer", "assertion|panic",
        ),
    },
}

MUTANTS = {
    name: _mutant(file, *row)
    for file, rows in _TABLE.items()
    for name, row in rows.items()
}

# Part of ./test, by engine.
SAMPLE = {
    "explorer": [
        "avl_remove_keeps_root",
        "captured_no_switch_mutex",
        "chain_insert_unlocked",
        "idle_overwrites_word",
        "mapcnt_unlocked",
        "owner_no_wakeup",
        "page_lock_sleeps_late",
        "release_lowers_unlocked",
        "scan_enters",
        "set_loses_refmod",
        "uncache_trusts_peek",
        "use_no_reclaim",
    ],
    "relacy": [
        "chain_insert_unlocked",
        "get_relaxed",
        "inval_acq_rel",
        "inval_no_flush",
        "link_relaxed",
        "prepare_no_recheck",
        "refcnt_early",
        "release_frees_busy",
        "set_relaxed",
        "thief_ignores_locks",
        "victim_no_wakeup",
    ],
}

# Tried on Relacy as well, which has fewer tests than the explorer: the faults that its scenarios
# were tried with first, and the memory orders.
ON_RELACY = SAMPLE["relacy"] + [
    "busy_is_absent",
    "create_no_second_search",
    "exit_ignores_victim",
    "hashin_no_search",
    "hment_leak",
    "idle_takes_no_note",
    "inval_no_unload",
    "kpm_no_recheck",
    "kpme_link_relaxed",
    "kpme_unlink_relaxed",
    "look_before_count",
    "no_signal",
    "pagecreate_unlocks",
    "prepare_no_promotion",
    "recycle_no_unload",
    "remove_keeps_share",
    "softlock_unlocks",
    "switch_never_joins",
    "unmap_no_sync",
    "unmapper_acq_rel",
    "unpromise_acq_rel",
    "update_no_flush",
    "use_no_recheck",
    "wrong_queue_flag",
]

# Locks in a wrong order: which is held and which is entered against what is right. The tests look
# for them without preemptions, where nothing deadlocks.
INVERSIONS = {
    "scan_enters": ("smq_mtx", "sm_mtx"),
    "steal_under_htable": ("htable", "mlist"),
}

def engines_of(name):
    """The engines with a test that they catch the mutant."""
    engines = [] if MUTANTS[name].order else ["explorer"]
    return engines + (["relacy"] if name in ON_RELACY else [])
