"""The published defects of vm/, hat/ and segmap/, and the files that each one's patch changes."""

def _hat(*files):
    return ("//hat:hat", ["//hat:" + file for file in files])

def _segmap(*files):
    return ("//segmap:segmap", ["//segmap:" + file for file in files])

def _vm(*files):
    return ("//vm:vm", ["//vm:" + file for file in files])

DEFECTS = {
    "S01": _hat("htable_link.cc"),
    "S02": _hat("pte_invalidation_captured.cc"),
    "S03": _hat("hat_load.cc"),
    "S04": _hat("hment_reserve.cc"),
    "S05": _hat("hat_life.cc"),
    "S06": _hat("htable_alloc.cc"),
    "S07": _hat("htable_steal.cc"),
    "S08": _hat("htable_alloc.cc"),
    "S08_reap": _hat("htable_steal.cc"),
    "S08_resv": _vm("page_create.cc"),
    "S09": _hat("hat_load.cc"),
    "S10": _hat("htable_steal.cc"),
    "S11": _hat("hat_unload.cc"),
    "S12": _hat("htable.cc"),
    "S13": _hat("htable_link.cc"),
    "S14": _hat("hat_load.cc"),
    "S15": _hat("hat_unload.cc"),
    "S16": _segmap("segmap.cc"),
    "S18": _hat("hat_page_refmod.cc"),
    "S19": _hat("hat_share.cc"),
    "S20": _hat("htable.cc"),
    "S21": _hat("hat_load.cc"),
    "S22": _segmap("segmap_fault.cc"),
    "S24": _hat("htable_steal.cc"),
    "S25": _hat("shootdown.cc"),
    "S26": _hat("hat_page.cc"),
}

# The scenarios that show a defect, and what the runner says about each.
SHOWN_BY = {
    "S01": ("shootdown/end_of_a_table_against_walk_shootdown", "violated .(assertion|panic)."),
    "S02": ("shootdown/unload_of_a_shared_page_against_a_sharer_captured", "violated .panic."),
    "S03": ("unload/locked_large_load_against_a_lookup", "violated .assertion."),
    "S04": ("hment_steal/shared_hats_are_spared", "violated .assertion."),
    "S05": ("exit/pageunload_against_exit", "violated .(data race|use after free)."),
    "S06": ("memory/ptable_free_against_a_reader_and_a_claimant", "violated .assertion."),
    "S07": ("exit/reap_against_exit", "violated .use after free."),
    "S08": ("memory/a_table_and_two_pages_of_the_last_two", "violated .assertion."),
    "S08_reap": ("steal/reap_of_twelve_tables", "violated .assertion."),
    "S08_resv": ("memory/a_table_and_two_pages_of_the_last_two", "violated .assertion."),
    "S09": ("memory/an_entry_set_by_hand_against_lookup", "violated .assertion."),
    "S10": ("steal/two_thieves_and_three_address_spaces", "violated .assertion."),
    "S11": ("unload/ranges_of_a_callback_against_pageunload", "violated .assertion."),
    "S12": ("htable/walk_across_the_hole_against_unload", "violated .assertion."),
    "S13": ("htable/table_linked_over_leftovers_against_walk", "violated .assertion."),
    "S14": ("exit/becoming_shared_against_steal", "violated .assertion."),
    "S15": (
        "exit/pageunload_against_an_exit_that_unloads_twice", "violated .(assertion|panic).",
    ),
    "S16": ("segmap/kpm_inval_unloads_the_slot_too", "violated .assertion."),
    "S18": ("refmod/pagesync_of_a_mapping_that_is_not_synced", "violated .assertion."),
    "S19": ("share/half_of_an_upper_table_against_access", "violated .assertion."),
    "S20": ("htable/release_against_a_locking_load", "violated .assertion."),
    "S21": ("unload/pageunload_against_a_load_without_page_lock", "violated .assertion."),
    "S22": ("segmap/two_pagecreates_of_one_page", "violated .assertion."),
    "S24": ("steal/reap_against_use_of_a_table", "violated .assertion."),
    "S25": ("shootdown/kernel_unload_against_an_idle_cpu", "violated .panic."),
    "S26": (
        "refmod/chgprot_against_unload_and_cleaning_of_the_page", "violated .assertion.",
    ),
}

# Shows S17, the published way of waiting for a slot.
S17_SCENARIO = "segmap/two_waiters_two_releases_published"

# Those that ./test shows on Relacy too; for all there is the suite :shown_by_relacy.
RELACY_SAMPLE = ["S05", "S07", "S16", "S20", "S21", "S25"]
