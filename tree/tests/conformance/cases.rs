//! The cases, by subject.

mod calls;
pub(crate) mod contacts;
mod deaths;
mod late;
mod scopes;

use crate::stage::Case;

/// Lists cases by their modules and names.
macro_rules! cases {
    ($($theme:ident::$name:ident),* $(,)?) => {
        pub(crate) const ALL: &[(&str, Case)] =
            &[$((stringify!($name), |stage| Box::pin($theme::$name(stage)))),*];
    };
}

cases! {
    calls::a_function_returns,
    calls::a_function_fails_with_its_own_error,
    calls::a_panic_is_told,
    calls::a_served_function_is_called,
    calls::a_removed_actor_learns_of_it,
    calls::functions_that_are_not_exposed_are_refused,
    scopes::a_failure_ends_the_scope,
    scopes::cancelled_children_are_absorbed,
    scopes::the_cancellation_of_a_peer_is_not_absorbed,
    calls::a_dialogue_goes_both_ways,
    calls::a_dialogue_that_never_starts_says_so,
    calls::siblings_find_each_other,
    calls::a_look_up_outlives_the_thread_that_made_the_first,
    contacts::look_ups_share_one_connection,
    contacts::a_restarted_actor_is_dialed_anew,
    deaths::a_process_that_exits_is_told_with_its_last_words,
    deaths::a_killed_process_is_noticed_at_once,
    deaths::a_terminated_process_says_who_asked,
    deaths::a_stopped_process_is_ended,
    late::a_socket_that_vanished_is_bound_and_registered_again,
    late::a_function_that_never_yields_is_ended_or_given_up,
    late::the_result_of_a_function_outlives_an_abandoned_actor,
    late::a_dump_tells_what_each_child_is_at,
    late::the_output_of_a_process_is_logged_with_its_name,
    late::a_stuck_thread_is_told_by_its_process,
    late::a_process_with_a_stuck_thread_is_ended,
    scopes::a_body_that_comes_too_late_for_its_scope_adds_no_error,
    scopes::a_deep_tree_falls,
    scopes::a_broad_tree_falls,
    deaths::a_death_at_any_step_of_the_boot_is_told,
    deaths::a_death_before_anybody_knows_leaves_no_file,
    scopes::no_error_of_a_cascade_is_lost,
    scopes::no_panic_of_a_cascade_is_lost,
    deaths::a_killed_parent_takes_its_children_with_it,
    deaths::a_helper_ends_with_the_process_that_started_it,
    calls::a_deadline_ends_a_call,
    calls::a_deadline_ends_a_dialogue_on_both_sides,
    scopes::a_restart_is_a_new_instance,
    scopes::a_function_is_restarted_until_it_succeeds,
    scopes::a_caller_learns_that_its_restart_was_cancelled,
    scopes::a_failed_bind_names_the_endpoint,
    scopes::a_dropped_scope_ends_its_children,
    deaths::a_child_inherits_three_descriptors,
    deaths::a_killed_root_takes_its_tree_with_it,
    deaths::a_terminal_interrupts_the_root_alone,
}

pub(crate) type Done = Result<(), tree::AnyError>;
