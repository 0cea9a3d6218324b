-- What callers read. Progress is the sum of the batches' counters until the run ends and has its own.

-- name: find_run
select r.notification_id, r.status, r.class, r.accepted_at, r.expires_at, r.planned, r.targeted,
       coalesce(r.counts, b.counts) as counts
from ledger.runs r
left join lateral (
  select jsonb_build_object('sent', sum(sent), 'rejected', sum(rejected), 'expired', sum(expired),
                            'cancelled', sum(cancelled), 'suppressed', sum(suppressed), 'failed', sum(failed)) as counts
  from ledger.batches where app_id = $1 and notification_id = $2 and r.counts is null
) b on true
where r.app_id = $1 and r.notification_id = $2;

-- name: list_runs
select r.notification_id, r.status, r.class, r.accepted_at, r.expires_at, r.planned, r.targeted,
       coalesce(r.counts, b.counts) as counts
from (
  select * from ledger.runs
  where app_id = $1 and ($2::text is null or status = $2) and ($3::uuid is null or notification_id < $3)
  order by notification_id desc limit $4
) r
left join lateral (
  select jsonb_build_object('sent', sum(sent), 'rejected', sum(rejected), 'expired', sum(expired),
                            'cancelled', sum(cancelled), 'suppressed', sum(suppressed), 'failed', sum(failed)) as counts
  from ledger.batches b where b.app_id = $1 and b.notification_id = r.notification_id and r.counts is null
) b on true
order by r.notification_id desc;

-- name: run_exists
select exists (select from ledger.runs where app_id = $1 and notification_id = $2);

-- name: list_ended
select device_id, state, code, provider, attempts, settled_at from ledger.deliveries
where app_id = $1 and notification_id = $2 and ($3::text is null or state = $3) and ($4::text is null or code = $4)
  and ($5::uuid is null or device_id > $5)
order by device_id limit $6;

-- name: list_of_device
select notification_id, device_id, state, code, provider, attempts, settled_at from ledger.deliveries
where app_id = $1 and device_id = $2 and ($3::uuid is null or notification_id < $3)
order by notification_id desc limit $4;

-- name: list_pending
select d.device_id, 'pending' as state, null as code, b.provider, b.tries as attempts, null as settled_at
from ledger.batches b cross join lateral unnest(b.device_ids) as d(device_id)
where b.app_id = $1 and b.notification_id = $2 and b.settled_at is null and ($3::uuid is null or d.device_id > $3)
order by d.device_id limit $4;

-- name: find_pending
select batch_no, provider, tries, planned_at, due_at, begun_at from ledger.batches
where app_id = $1 and notification_id = $2 and settled_at is null and $3 = any(device_ids);

-- name: find_delivery
select state, code, provider, attempts, batch_no, provider_ref, detail, settled_at from ledger.deliveries
where app_id = $1 and notification_id = $2 and device_id = $3;

-- name: list_attempts
select batch_no, epoch, verdict, code, detail, at, due_at from ledger.attempts
where app_id = $1 and notification_id = $2 and device_id = $3
order by at, batch_no, epoch;

-- name: first_batch
select batch_no, n, planned_at, credential_id from ledger.batches
where app_id = $1 and notification_id = $2 and batch_no = any($3::bigint[])
order by batch_no limit 1;

-- name: list_receipts
select kind, at from ledger.receipts
where app_id = $1 and notification_id = $2 and device_id = $3
order by at, kind;

-- name: insert_receipt
-- Only of a run that is still here: a receipt that comes after its partition went has nowhere to be.
with run as (
  select from ledger.runs where app_id = $1 and notification_id = $2
), kept as (
  insert into ledger.receipts (app_id, notification_id, device_id, kind, at)
  select $1, $2, $3, $4, clock_timestamp() from run
  on conflict (app_id, notification_id, device_id, kind) do nothing
)
select exists (select from run);
