"""The planted faults: the file that is wrong, the scenario that shows it, and what it reports."""

def _fault(file, scenario, expect, args = []):
    return struct(file = file, scenario = scenario, expect = expect, args = args)

FAULTS = {
    "chain_insert_unlocked": _fault(
        "hment_index_chain.cc",
        "hment/two_records_in_one_bucket_chain",
        "violated .data race.",
    ),
    "create_no_second_search": _fault(
        "htable.cc",
        "htable/two_threads_create_a_table",
        "violated .panic.",
    ),
    "exit_ignores_victim": _fault(
        "hat_life.cc",
        "exit/htable_steal_against_exit",
        "violated .(use after free|assertion).",
    ),
    "hment_leak": _fault(
        "hment_reserve.cc",
        "hment/two_faults_on_one_address_of_a_listed_page",
        "violated .assertion.",
    ),
    "idle_takes_no_note": _fault(
        "shootdown.cc",
        "shootdown/kernel_unload_against_an_idle_cpu",
        "violated .panic.",
    ),
    "inval_no_flush": _fault(
        "pte_invalidation_shootdown.cc",
        "shootdown/unload_against_access_shootdown",
        "violated .panic.",
    ),
    "prepare_no_promotion": _fault(
        "hment.cc",
        "hment/two_threads_add_the_first_mapping",
        "violated .assertion.",
    ),
    "prepare_no_recheck": _fault(
        "hment.cc",
        "hment/one_more_mapping_against_unmap_of_a_list_of_one",
        "violated .assertion.",
    ),
    "release_frees_busy": _fault(
        "htable.cc",
        "htable/lookup_against_the_last_release",
        "violated .(use after free|assertion|panic).",
    ),
    "remove_keeps_share": _fault(
        "hment.cc",
        "unload/pageunload_against_unload_of_a_listed_page",
        "violated .assertion.",
    ),
    "switch_never_joins": _fault(
        "shootdown.cc",
        "shootdown/unload_against_hat_switch_shootdown",
        "violated .(assertion|panic).",
    ),
    "thief_ignores_locks": _fault(
        "hat_unload.cc",
        "steal/steal_against_locking_of_a_mapping",
        "violated .assertion.",
    ),
    "unmap_no_sync": _fault(
        "hat_unload.cc",
        "refmod/unload_against_write_captured",
        "violated .assertion.",
    ),
    "update_no_flush": _fault(
        "pte_ops.cc",
        "refmod/chgprot_against_write",
        "violated .assertion.",
    ),
    "victim_no_wakeup": _fault(
        "htable_steal.cc",
        "exit/htable_steal_against_exit",
        "violated .lost wake-up.",
    ),
    # Orders of atomics, one step weaker each.
    "get_relaxed": _fault(
        "pte_ops.cc",
        "shootdown/hat_getpfnum_against_new_mapping",
        "violated .assertion.",
    ),
    "kpme_link_relaxed": _fault(
        "kpm_mapping_on_demand.cc",
        "segmap/kpm_pageunload_against_reuse_for_another_page",
        "violated .data race.",
    ),
    "kpme_unlink_relaxed": _fault(
        "kpm_mapping_on_demand.cc",
        "segmap/kpm_pageunload_against_reuse_for_another_page",
        "violated .data race.",
    ),
    "inval_acq_rel": _fault(
        "pte_invalidation_shootdown.cc",
        "shootdown/unload_against_hat_switch_shootdown",
        "violated .panic.",
    ),
    "link_relaxed": _fault(
        "pte_ops.cc",
        "shootdown/new_table_against_walk",
        "violated .(panic|assertion).",
    ),
    "set_relaxed": _fault(
        "pte_ops.cc",
        "shootdown/new_mapping_against_access",
        "violated .assertion.",
    ),
    "unmapper_acq_rel": _fault(
        "hat_page.cc",
        "exit/pageunload_against_exit",
        "violated .lost wake-up.",
    ),
}
