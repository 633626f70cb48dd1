-- name: keep_to_the_order
-- For the rest of the transaction: what is asked for in an index's order is a walk along that index,
-- whatever the statistics say. For a while a job of a million files is younger than they are, and to
-- sort all its files would look cheap.
SELECT set_config('enable_sort', 'off', true),
       set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true)
