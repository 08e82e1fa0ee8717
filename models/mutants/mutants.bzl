"""The mutants: the file with the fault, the scenario that must catch it, and what it reports.

`kinds` are alternatives of a regular expression. `order` marks a memory order made one step weaker:
only Relacy reads values that such an order permits. This file is read by models/scorecard.py too,
so it keeps to what Starlark and Python have in common.
"""

load(":mutants_vm_segmap.bzl", "VM_AND_SEGMAP")

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

_HAT = {
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
        "mapcnt_counts_small_of_leader": (
            "unload/mapcnt_beside_a_small_mapping_of_the_first_page", "assertion",
        ),
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
        "alloc_reserve_first": ("memory/reserve_spared_while_there_are_victims", "assertion"),
        "free_keeps_no_reserve": ("memory/reserves_filled_again_and_trimmed", "assertion"),
        "alloc_keeps_no_reserve": ("memory/reserves_filled_again_and_trimmed", "assertion"),
        "hments_not_trimmed": ("memory/reserves_filled_again_and_trimmed", "assertion"),
        "nested_free_calls_kmem": ("memory/kernel_mapping_inside_a_load_by_thread", "assertion"),
        "hment_free_trims_nothing": ("memory/reserves_filled_again_and_trimmed", "assertion"),
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
        "tables_keep_no_reserve": ("memory/reserves_filled_again_and_trimmed", "assertion"),
        "table_alloc_keeps_no_reserve": ("memory/reserves_filled_again_and_trimmed", "assertion"),
        "nested_table_calls_kmem": ("memory/kernel_mapping_inside_a_load_by_thread", "assertion"),
        "uncache_for_shared": ("share/shared_table_beside_a_cached_one", "assertion"),
        "low_memory_for_tables": ("memory/tables_and_pages_while_memory_is_low", "assertion"),
        "table_put_keeps_hat": ("memory/table_reserve_filled_and_drawn_on", "assertion"),
        "table_reserve_get_unlocked": (
            "memory/table_reserve_filled_and_drawn_on", "data race|assertion",
        ),
        "table_reserve_put_unlocked": (
            "memory/table_reserve_filled_and_drawn_on", "data race",
        ),
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
        "full_tables_spared": ("steal/full_tables_and_tables_behind_others", "assertion"),
        "thief_sees_first_of_chain": ("steal/full_tables_and_tables_behind_others", "assertion"),
        "reap_trims_nothing": ("memory/reserves_filled_again_and_trimmed", "assertion"),
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
        "memload_uncached": ("load/caching_of_memory_and_of_devices", "assertion"),
        "array_uncached": ("load/caching_of_memory_and_of_devices", "assertion"),
        "devload_always_cached": ("load/caching_of_memory_and_of_devices", "assertion"),
        "strict_order_cached": ("load/caching_of_memory_and_of_devices", "assertion"),
        "merging_not_combined": ("load/caching_of_memory_and_of_devices", "assertion"),
        "devload_ignores_length": ("load/devload_of_ranges_of_frames", "assertion"),
        "devload_ignores_size_code": ("load/devload_of_ranges_of_frames", "assertion"),
        "devload_first_frame": ("load/devload_of_ranges_of_frames", "assertion"),
        "devload_ignores_frame_alignment": ("load/devload_of_ranges_of_frames", "assertion"),
        "kernel_load_for_users": ("load/kernel_mapping_against_access_by_a_user", "assertion"),
        "device_on_list": ("load/devload_of_ranges_of_frames", "assertion"),
        "mempte_stays": ("memory/an_entry_set_by_hand_against_access", "assertion|panic"),
        "mempte_overwrites": ("memory/an_entry_in_use_set_by_hand", "assertion"),
        "remap_refused": ("load/remap_of_an_off_list_mapping_against_access", "panic"),
        "remap_without_leave": ("load/another_page_where_one_is_mapped", "assertion"),
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
        "ranges_join_sizes": ("unload/ranges_of_large_and_small_pages", "assertion"),
        "unload_one_takes_large": ("unload/nothing_in_the_range", "assertion"),
        "range_inside_large": ("unload/range_that_begins_inside_a_large_page", "assertion"),
        "nosync_ignored": ("refmod/unload_without_syncing_against_write", "assertion"),
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
        "pageunload_of_its_own": (
            "unload/pageunload_of_half_a_large_page_against_unload", "assertion",
        ),
        "demotion_of_its_own": ("unload/demotion_of_a_large_page_by_its_second_half", "assertion"),
        "sync_spares_first_page": (
            "refmod/pagesync_of_half_a_large_page_against_write", "assertion",
        ),
        "pageunload_takes_smaller": ("unload/a_small_mapping_beside_what_is_unloaded", "assertion"),
        "demotion_takes_small": ("unload/a_small_mapping_beside_what_is_unloaded", "assertion"),
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
        "setattr_moves_nothing": ("pages/two_pages_of_a_sorted_vnode_modified", "assertion"),
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
        "size_ignores_shared": ("load/size_of_large_small_and_shared_pages", "assertion"),
        "size_counts_entries": ("load/size_of_large_small_and_shared_pages", "assertion"),
        "sync_clears_nothing": ("refmod/range_with_an_off_list_mapping", "assertion"),
        "off_list_changed": ("refmod/range_with_an_off_list_mapping", "assertion"),
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
        "set_flushes_table_start": ("load/read_only_again_against_write", "assertion"),
        "undo_without_need": ("refmod/pagesync_against_write_blind", "assertion"),
    },
    "hat/pte_invalidation_captured.cc": {
        "captured_no_switch_mutex": ("shootdown/unload_against_hat_switch_captured", "panic"),
        "captured_stores_zero": ("refmod/unload_against_write_captured", "assertion"),
        "captured_no_second_look": ("shootdown/unload_against_the_first_sharing_captured", "panic"),
        "captured_kernel_as_user": ("shootdown/kernel_unload_against_access_captured", "panic"),
        "captured_ignores_expect": (
            "unload/large_unload_against_a_page_table_in_its_place_captured", "assertion",
        ),
        "captured_spares_sharers": (
            "refmod/unload_of_a_shared_page_against_write_captured_blind", "assertion",
        ),
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
        "shared_flushed_by_address": (
            "shootdown/unload_of_a_shared_page_against_a_sharer_shootdown", "panic",
        ),
        "thread_exit_stays": ("exit/pageunload_against_the_last_thread", "assertion"),
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
        "swapout_keeps_cache": ("unload/swapout_of_a_sharer_against_its_source", "assertion"),
        "swapout_unloads_shared": ("unload/swapout_of_a_sharer_against_its_source", "assertion"),
        "swapout_skips_next": ("load/locked_large_page_unlocked_and_swapped_out", "assertion"),
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
        "share_any_source": ("share/source_that_was_not_loaded_to_be_shared", "assertion"),
        "copy_ignores_length": ("share/parts_of_a_large_page_and_other_alignment", "assertion"),
        "copy_ignores_alignment": ("share/parts_of_a_large_page_and_other_alignment", "assertion"),
        "copy_from_first_page": ("share/parts_of_a_large_page_and_other_alignment", "assertion"),
        "copy_writable": ("share/attributes_of_copies", "assertion"),
        "copy_cached": ("share/attributes_of_copies", "assertion"),
        "unshare_lowest_only": ("share/upper_table_that_is_full", "assertion|panic"),
        "share_lowest_only": ("share/upper_table_that_is_full", "assertion"),
        "unshare_skips_next": ("share/two_tables_in_a_row", "assertion"),
        "copy_tries_once": ("share/a_large_page_where_the_sharer_has_a_table", "panic"),
    },
    "hat/reserve_ownership_thread.cc": {
        "depth_exit_weight": ("memory/two_nested_loads_by_thread", "assertion"),
        "owner_no_wakeup": ("memory/two_nested_loads_by_thread", "lost wake-up"),
        "owner_waits_once": ("memory/two_nested_loads_each_by_thread", "assertion"),
        "owner_trims_nothing": ("memory/kernel_mapping_inside_a_load_by_thread", "assertion"),
        "nested_load_on_list": ("memory/kernel_mapping_inside_a_load_by_thread", "assertion"),
        "owner_wakes_one": ("memory/two_loads_wait_for_an_owner_by_thread", "lost wake-up"),
    },
    "hat/reserve_ownership_depth.cc": {
        "depth_nested_from_one": ("memory/nested_load_against_load_by_depth", "assertion"),
        "populating_ignored": ("memory/nested_load_against_load_by_depth", "assertion"),
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
        "kpm_mapout_counts_list_only": ("segmap/kpm_two_users_of_one_page", "assertion|panic"),
        "kpm_unlink_keeps_next": (
            "segmap/kpm_two_users_of_one_page", "assertion|panic|use after free",
        ),
    },
    "hat/htable_walk.cc": {
        "walk_ends_at_gap": ("load/unload_that_begins_behind_a_mapping", "assertion|panic"),
        "walk_keeps_hold": ("load/arrays_of_large_and_small_pages", "assertion|panic"),
    },
    "hat/kmem.cc": {
        "kmem_page_keeps_reservation": ("memory/kernel_memory_that_fails", "assertion"),
        "kmem_failure_keeps_bytes": ("memory/kernel_memory_that_fails", "assertion"),
        "kmem_credit_kept": ("memory/kernel_memory_that_fails", "assertion"),
        "kmem_claim_stores": ("memory/two_cpus_need_more_kernel_memory", "assertion"),
        "kmem_page_stays_exclusive": ("memory/two_cpus_need_more_kernel_memory", "assertion"),
        "kmem_page_never_waits": ("memory/kernel_memory_against_a_free", "panic"),
        "kmem_reap_spares_hments": ("memory/reserves_filled_again_and_trimmed", "assertion"),
    },
}

MUTANTS = {
    name: _mutant(file, *row)
    for file, rows in list(_HAT.items()) + list(VM_AND_SEGMAP.items())
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
