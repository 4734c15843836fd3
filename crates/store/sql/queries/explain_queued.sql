-- Why a run of this organisation waits, by the rules of claims; no row unless it is queued.
SELECT half_slots AS "half_slots!", not_before, attempt AS "attempt!", active_half_slots AS "active_half_slots!",
    browser_runs AS "browser_runs!", api_runs AS "api_runs!", organization_runs AS "organization_runs!",
    user_runs AS "user_runs!", live_workers AS "live_workers!", claiming_workers AS "claiming_workers!",
    claiming_half_slots AS "claiming_half_slots!", largest_half_slots, free_half_slots, held_by AS "held_by!: OptionalText<ClaimPause>", held_detail,
    (SELECT reason FROM operator_pauses WHERE worker_id = '') AS operator_pause,
    reserved_run, reserved_half_slots, position_in_user AS "position_in_user!",
    position_in_organization AS "position_in_organization!", queue_position AS "position!", run_seconds,
    run_half_slots, at AS "at!"
FROM explain_queued($1, $2, $3, $4, $5, $6, $7, $8, $9)
