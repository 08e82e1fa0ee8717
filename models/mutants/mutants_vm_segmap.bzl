"""The rows of mutants.bzl for vm/ and segmap/."""

VM_AND_SEGMAP = {
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
        "reader_overtakes_writer": ("pages/a_starving_writer_against_readers", "assertion"),
        "starving_writer_no_wakeup": ("pages/a_starving_writer_against_readers", "lost wake-up"),
        "starving_writer_refused": ("pages/a_starving_writer_against_readers", "lost wake-up"),
        "upgrade_beside_starving": ("pages/a_starving_writer_against_readers", "assertion"),
        "retired_page_waited_for": (
            "pages/a_page_retired_against_who_waits_for_it", "lost wake-up|deadlock",
        ),
        "free_page_shared": ("pages/two_lookups_of_a_free_page", "assertion"),
        "page_unlock_wakes_one": ("pages/two_readers_wait_for_a_writer", "lost wake-up"),
        "page_downgrade_wakes_one": ("pages/two_readers_wait_for_a_downgrade", "lost wake-up"),
        "page_io_unlock_wakes_one": ("pages/two_wait_for_the_end_of_a_transfer", "lost wake-up"),
    },
    "vm/page_cache.cc": {
        "hashin_vnode_unlocked": ("pages/a_walk_of_a_vnode_against_a_new_page", "data race"),
        "hashin_unlocked": ("segmap/two_pagecreates_of_one_page", "assertion|panic|data race"),
        "lookup_no_recheck": ("segmap/lookup_against_rename", "assertion"),
        "lookup_nowait_no_recheck": ("segmap/lookup_without_waiting_against_rename", "assertion"),
        "lookup_nowait_takes_free": ("pages/two_lookups_of_a_free_page", "assertion"),
        "rename_loses_modified": ("pages/rename_over_a_page_against_a_lookup", "assertion"),
        "hashin_ignores_order": ("pages/rename_over_a_page_against_a_lookup", "assertion"),
        "head_stays_head": ("pages/two_pages_of_a_sorted_vnode_modified", "assertion"),
        "hashout_wakes_one": (
            "pages/two_lookups_of_a_page_that_is_renamed_and_kept", "lost wake-up",
        ),
        "refused_reclaim_finds_nothing": (
            "pages/lookup_of_a_promised_page_against_its_return", "assertion",
        ),
    },
    "vm/page_list.cc": {
        "reclaim_unlinks_unlocked": ("pages/a_page_taken_back_against_a_free", "data race"),
        "memory_waiter_announces_late": ("memory/allocation_against_a_free", "lost wake-up"),
        "promise_not_checked": ("memory/two_allocations_of_the_last_page", "livelock|assertion"),
        "unpromise_acq_rel": ("memory/allocation_against_a_free", "lost wake-up", True),
        "unpromise_no_wakeup": ("memory/allocation_against_a_free", "lost wake-up"),
        "unpromise_wakes_unlocked": ("memory/allocation_against_a_free", "lost wake-up"),
        "group_keeps_page": ("pages/a_large_page_against_a_small_one_of_it", "assertion"),
        "group_no_recheck": ("pages/a_large_page_against_a_small_one_of_it", "assertion"),
        "free_wakes_one": ("memory/allocations_of_one_and_two_pages_wait", "lost wake-up"),
        "group_keeps_names": ("pages/the_last_large_page_of_memory", "assertion"),
        "own_list_only": ("pages/free_pages_of_other_lists", "livelock"),
    },
    "vm/getpage.cc": {
        "readahead_keeps_page": ("segmap/read_ahead_against_fault", "assertion"),
        "failed_read_keeps_page": ("segmap/two_faults_of_which_one_fails", "assertion"),
        "failed_getpage_keeps_pages": (
            "segmap/fault_of_two_pages_of_which_one_cannot_be_read", "assertion",
        ),
        "created_page_not_zeroed": ("pages/two_getpages_of_a_page_that_is_created", "assertion"),
        "created_page_shared": ("pages/two_getpages_of_a_page_that_is_created", "assertion"),
        "failed_kluster_keeps_pages": (
            "segmap/fault_of_two_pages_of_which_one_cannot_be_read", "assertion",
        ),
        "kluster_stays_exclusive": (
            "segmap/soft_lock_of_two_pages_against_a_reader", "assertion|lost wake-up|deadlock",
        ),
        "writer_may_not_write": ("segmap/getmap_for_writing", "assertion"),
        "created_page_is_read": ("pages/two_getpages_of_a_page_that_is_created", "assertion"),
    },
    "vm/putpage.cc": {
        "putpage_cleans_late": ("segmap/sync_against_write", "assertion"),
        "putpage_forgets_error": ("segmap/two_syncs_of_which_one_fails", "assertion"),
        "freeable_no_recheck": ("segmap/write_by_a_process_against_pageout", "assertion"),
        "transfer_elsewhere_keeps_page": ("segmap/release_that_does_not_wait", "assertion"),
        "memory_locked_keeps_page": (
            "pages/end_of_a_file_with_a_memory_locked_page", "assertion|lost wake-up|deadlock",
        ),
        "failed_write_destroys": ("segmap/releases_whose_writes_fail", "assertion"),
        "force_ignored": ("segmap/releases_whose_writes_fail", "assertion"),
        "used_page_freed": ("pages/page_that_is_read_while_it_is_written_to_be_freed", "assertion"),
        "offset_ignored": ("pages/write_to_the_end_of_the_file_from_an_offset", "assertion"),
        "recycle_hides_pages": ("pages/end_of_a_file_with_a_memory_locked_page", "assertion"),
        "putpage_last_error": ("segmap/releases_whose_writes_fail", "assertion"),
        "dispose_ignores_dontneed": (
            "segmap/order_in_which_freed_pages_are_used_again", "assertion",
        ),
        "walk_skips_refused": ("pages/write_of_a_file_against_a_holder_of_a_page", "assertion"),
        "recycle_keeps_free_pages": (
            "pages/end_of_a_file_with_a_memory_locked_page", "assertion|panic",
        ),
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
        "free_ignored": ("segmap/two_releases_of_which_one_frees", "assertion"),
        "free_by_any": ("segmap/two_releases_of_which_one_frees", "assertion"),
        "async_ignored": ("segmap/release_that_does_not_wait", "lost wake-up|deadlock"),
        "hint_writes": ("segmap/release_with_a_hint_alone", "assertion"),
        "release_hides_error": ("segmap/releases_whose_writes_fail", "assertion"),
        "known_slot_not_faulted": ("segmap/getmap_of_a_part_of_a_window", "assertion"),
        "probes_start_of_slot": ("segmap/getmap_of_a_part_of_a_window", "assertion"),
        "data_use_kept": ("segmap/kpm_uses_of_one_slot_one_by_one", "assertion"),
        "newpage_kept": ("segmap/kpm_uses_of_one_slot_one_by_one", "assertion"),
        "read_not_noted": ("segmap/kpm_uses_of_one_slot_one_by_one", "assertion"),
        "vnode_of_its_own": ("segmap/two_getmaps_through_vnodes_of_one_device", "assertion"),
        "colour_ignored": ("segmap/two_getmaps_of_two_colours", "assertion"),
        "reclaim_counts_use": ("segmap/what_is_counted", "assertion"),
        "faults_one_page": ("segmap/getmap_of_a_part_of_a_window", "assertion"),
        "faults_as_read": ("segmap/getmap_for_writing", "assertion"),
        "destroy_keeps_slot": ("segmap/releases_that_throw_away", "assertion"),
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
        "fault_is_no_use": ("segmap/fault_on_a_page_that_was_there", "assertion"),
        "softunlock_keeps_bit": ("segmap/soft_locked_creation_against_pageout", "assertion"),
        "softlock_of_new_only": ("segmap/soft_locked_creation_against_pageout", "assertion|panic"),
        "newpage_of_the_last": (
            "segmap/pagecreate_of_two_pages_of_which_one_is_there", "assertion",
        ),
        "pageunlock_not_noted": (
            "segmap/pagecreate_of_two_pages_of_which_one_is_there", "assertion",
        ),
        "pagefree_ignores_modified": (
            "segmap/recycling_of_a_modified_piece_against_a_sync", "assertion",
        ),
        "readahead_hides_error": (
            "segmap/fault_of_two_pages_of_which_one_cannot_be_read", "assertion",
        ),
        "fault_ignores_segment": ("segmap/fault_on_a_page_that_was_there", "assertion"),
        "recycle_unloads_first_page": ("segmap/second_page_of_a_slot", "assertion"),
        "pageunlock_stops": ("segmap/second_page_of_a_slot", "assertion"),
        "softunlock_of_first_page": ("segmap/second_page_of_a_slot", "panic|assertion"),
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
        "kpm_fast_keeps_page": ("segmap/kpm_uses_of_one_slot_one_by_one", "assertion"),
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
        "recycle_keeps_pages": ("segmap/recycling_of_a_modified_piece_against_a_sync", "assertion"),
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
        "scan_goes_to_other_colour": ("segmap/two_getmaps_of_two_colours", "assertion"),
    },
    "vm/page_free.cc": {
        "unresv_no_wakeup": ("memory/a_reservation_against_a_return", "lost wake-up"),
        "resv_takes_reserve": ("memory/a_reservation_against_a_return", "assertion"),
        "release_ignores_kpm_users": (
            "segmap/kpm_free_of_a_page_that_a_slot_has_mapped_in", "assertion|panic",
        ),
        "dontneed_ignored": ("segmap/order_in_which_freed_pages_are_used_again", "assertion"),
        "needed_pages_first": ("segmap/order_in_which_freed_pages_are_used_again", "assertion"),
        "release_ignores_memory_locks": ("pages/release_of_pages_that_are_needed", "assertion"),
        "release_frees_swap": ("pages/release_of_pages_that_are_needed", "assertion"),
        "unresv_wakes_one": ("memory/reservations_of_one_and_two_pages_wait", "lost wake-up"),
        "release_no_recheck_of_mappings": (
            "pages/release_against_the_first_mapping", "panic|assertion",
        ),
        "release_frees_large": ("pages/release_and_destruction_as_asked", "assertion|panic"),
        "release_always_checks": ("pages/release_and_destruction_as_asked", "assertion"),
        "destroy_frees_always": ("pages/release_and_destruction_as_asked", "assertion"),
        "nomemwait_stays": ("memory/tables_and_pages_while_memory_is_low", "assertion"),
    },
    "vm/page_large.cc": {
        "demoted_page_stays_mapped": (
            "unload/demotion_by_the_page_layer_against_a_sharer", "assertion|panic",
        ),
        "large_keeps_promise": ("pages/a_large_page_against_a_small_one_of_it", "assertion"),
        "taken_name_keeps_pages": (
            "pages/a_large_page_whose_name_is_taken_against_a_lookup",
            "assertion|lost wake-up|deadlock",
        ),
        "demotion_refused_keeps_pages": (
            "pages/demotion_of_four_pages_against_a_holder_of_one", "assertion",
        ),
        "floor_of_large_ignored": ("pages/the_last_large_page_of_memory", "assertion"),
        "destroy_pages_splits_first": (
            "unload/destruction_of_a_large_page_against_access", "assertion|panic",
        ),
        "demotion_unloads_one": (
            "pages/demotion_of_four_pages_against_a_holder_of_one", "assertion",
        ),
    },
    "segmap/segmap_ops.cc": {
        "checkprot_any": ("segmap/fault_on_a_page_that_was_there", "assertion"),
        "dump_keeps_page": ("segmap/dump_of_windows", "assertion"),
        "dump_of_free_slots": ("segmap/dump_of_windows", "assertion"),
        "kstat_written": ("segmap/what_is_counted", "assertion"),
    },
    "vm/page_create.cc": {
        "undo_counts_one_more": (
            "segmap/fault_of_two_pages_against_creation_of_the_second", "assertion",
        ),
        "undo_keeps_pages": (
            "segmap/fault_of_two_pages_against_creation_of_the_second",
            "assertion|lost wake-up|deadlock",
        ),
        "existing_stays_listed": (
            "pages/creation_of_a_page_that_is_there_against_a_lookup", "assertion",
        ),
        "freer_waits_for_memory": ("memory/tables_and_pages_while_memory_is_low", "assertion"),
        "floor_ignored": ("memory/tables_and_pages_while_memory_is_low", "assertion"),
        "create_loses_frame": ("pages/creation_of_pages_that_are_there", "assertion"),
        "create_keeps_promises": ("pages/creation_of_pages_that_are_there", "assertion"),
        "existing_loses_frame": ("pages/creation_of_pages_that_are_there", "assertion"),
        "reclaim_sleeps_with_page": (
            "pages/lookup_of_a_promised_page_against_its_return", "lost wake-up|deadlock",
        ),
    },
}
