-- What the Book writes. Every statement names the app, so that the policy's check costs nothing.

-- name: open_run
insert into ledger.runs (app_id, notification_id, class, on_ambiguity, status, accepted_at, expires_at, plan_upper,
                         woken_at, updated_at)
values ($1, $2, $3, $4, 'accepted', $5, $6, $7, now(), now());

-- name: lock_run
select status, plan_seq, plan_cursor, plan_upper, planned, class
from ledger.runs where app_id = $1 and notification_id = $2 for update;

-- name: fail_run
update ledger.runs set status = 'failed', planned = true, counts = '{}', updated_at = now()
where app_id = $1 and notification_id = $2 and targeted = 0 and status in ('accepted', 'running')
  and not exists (select from ledger.batches b where b.app_id = $1 and b.notification_id = $2);

-- name: page_planned
update ledger.runs
set status = case when status = 'accepted' then 'running' else status end, plan_seq = plan_seq + 1,
    plan_cursor = $3, planned = $4, targeted = targeted + $5, woken_at = now(), updated_at = now()
where app_id = $1 and notification_id = $2;

-- name: insert_batches
-- The ids of all batches travel as one array; a batch is the slice from its start, `size` long.
insert into ledger.batches (app_id, notification_id, class, credential_id, provider, tries, device_ids, n, planned_at,
                            due_at, woken_at)
select $1, $2, $3, b.credential_id, b.provider, $4, ($5::uuid[])[b.start:b.start + b.size - 1], b.size,
       coalesce($10, now()),
       clock_timestamp() + make_interval(secs => b.delay), clock_timestamp() + make_interval(secs => b.delay)
from unnest($6::uuid[], $7::text[], $8::int[], $9::int[], $11::float8[]) as b(credential_id, provider, start, size, delay)
returning batch_no, n, greatest(0, extract(epoch from due_at - clock_timestamp()))::float8 as delay;

-- name: insert_settled_batch
-- Deliveries that ended in planning: their counters need a batch row, too.
insert into ledger.batches (app_id, notification_id, class, n, planned_at, due_at, woken_at, settled_at,
                            suppressed, failed, codes)
values ($1, $2, $3, $4, now(), now(), now(), now(), $5, $6, $7)
returning batch_no;

-- name: insert_deliveries
insert into ledger.deliveries (app_id, notification_id, device_id, state, code, provider, attempts, batch_no,
                               provider_ref, detail, settled_at)
select $1, $2, d.device_id, d.state, d.code, $3, $4, $5, d.ref, d.detail, clock_timestamp()
from unnest($6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[]) as d(device_id, state, code, ref, detail);

-- name: insert_planned_ends
insert into ledger.deliveries (app_id, notification_id, device_id, state, code, provider, attempts, batch_no, settled_at)
select $1, $2, d.device_id, d.state, d.code, d.provider, 0, $3, now()
from unnest($4::uuid[], $5::text[], $6::text[], $7::text[]) as d(device_id, state, code, provider);

-- name: insert_sent
insert into ledger.deliveries (app_id, notification_id, device_id, state, code, provider, attempts, batch_no,
                               provider_ref, settled_at)
select $1, $2, d.device_id, 'sent', 'accepted', $3, $4, $5, d.ref, clock_timestamp()
from unnest($6::uuid[], $7::text[]) as d(device_id, ref);

-- name: insert_attempts
insert into ledger.attempts (app_id, notification_id, device_id, batch_no, epoch, verdict, code, detail, at, due_at)
select $1, $2, a.device_id, $3, $4, a.verdict, a.code, a.detail, clock_timestamp(),
       clock_timestamp() + make_interval(secs => a.delay)
from unnest($5::uuid[], $6::text[], $7::text[], $8::text[], $9::float8[]) as a(device_id, verdict, code, detail, delay);

-- name: insert_lost_attempts
insert into ledger.attempts (app_id, notification_id, device_id, batch_no, epoch, verdict, code, at)
select $1, $2, d, $3, $4, 'ambiguous', 'worker_lost', clock_timestamp() from unnest($5::uuid[]) as d;

-- name: begin_batch
with old as (
  select b.credential_id, b.provider, b.tries, b.deaths, b.device_ids, b.planned_at, b.class,
         b.begun_at is not null as suspect, b.settled_at, b.lease_until, b.due_at,
         r.status, r.on_ambiguity, r.expires_at
  from ledger.batches b
  join ledger.runs r on r.app_id = b.app_id and r.notification_id = b.notification_id
  where b.app_id = $1 and b.notification_id = $2 and b.batch_no = $3
  for update of b
), begun as (
  update ledger.batches b
  set epoch = b.epoch + 1, begun_at = clock_timestamp(), lease_until = clock_timestamp() + interval '30 s', holder = $4,
      deaths = b.deaths + old.suspect::int
  from old
  where b.app_id = $1 and b.notification_id = $2 and b.batch_no = $3
    and old.status = 'running' and old.settled_at is null
    and (old.lease_until is null or old.lease_until < clock_timestamp()) and old.due_at <= clock_timestamp()
  returning b.epoch, b.deaths
)
select old.credential_id, old.provider, old.tries, old.device_ids, old.planned_at, old.class, old.suspect,
       old.on_ambiguity, old.settled_at is not null or old.status <> 'running' as over,
       extract(epoch from greatest(old.due_at, old.lease_until) - clock_timestamp())::float8 as wait,
       extract(epoch from old.expires_at - clock_timestamp())::float8 as ttl_left,
       begun.epoch, begun.deaths
from old left join begun on true;

-- name: settle_batch
update ledger.batches
set device_ids = $5, settled_at = case when $5::uuid[] is null then clock_timestamp() end,
    sent = sent + $6, rejected = rejected + $7, expired = expired + $8, cancelled = cancelled + $9,
    suppressed = suppressed + $10, failed = failed + $11,
    codes = case when $12::jsonb is null then codes else ledger.add_counts(codes, $12) end
where app_id = $1 and notification_id = $2 and batch_no = $3 and epoch = $4 and settled_at is null;

-- name: batch_left
select case when settled_at is null then cardinality(device_ids) else 0 end
from ledger.batches where app_id = $1 and notification_id = $2 and batch_no = $3 and epoch = $4;

-- name: run_fate
-- What a retry has to know: is the run ending, and how long has it still got?
select status, extract(epoch from expires_at - clock_timestamp())::float8 as ttl_left
from ledger.runs where app_id = $1 and notification_id = $2;

-- name: free_batch
update ledger.batches
set begun_at = null, lease_until = null, holder = null, due_at = clock_timestamp() + make_interval(secs => $5),
    woken_at = clock_timestamp() + make_interval(secs => $5)
where app_id = $1 and notification_id = $2 and batch_no = $3 and epoch = $4 and settled_at is null;

-- name: probe_run
update ledger.runs r
set status = case r.status when 'cancelling' then 'cancelled' else 'completed' end, updated_at = clock_timestamp(),
    counts = (select jsonb_build_object('sent', coalesce(sum(sent), 0), 'rejected', coalesce(sum(rejected), 0),
                'expired', coalesce(sum(expired), 0), 'cancelled', coalesce(sum(cancelled), 0),
                'suppressed', coalesce(sum(suppressed), 0), 'failed', coalesce(sum(failed), 0))
              from ledger.batches b where b.app_id = $1 and b.notification_id = $2)
where r.app_id = $1 and r.notification_id = $2 and r.planned and r.status in ('running', 'cancelling')
  and not exists (select from ledger.batches b
                  where b.app_id = $1 and b.notification_id = $2 and b.settled_at is null)
returning r.status;

-- name: change_status
with old as (
  select status, planned from ledger.runs where app_id = $1 and notification_id = $2 for update
), changed as (
  update ledger.runs r
  set status = case when $3 = 'running' and old.status = 'paused' and not old.planned and r.plan_seq = 0
                    then 'accepted' else $3 end,
      planned = r.planned or $3 = 'cancelling', updated_at = clock_timestamp()
  from old where r.app_id = $1 and r.notification_id = $2 and old.status = any($4::text[])
)
select status from old;

-- name: unsettled_batches
select batch_no, n, greatest(0, extract(epoch from greatest(due_at, lease_until) - clock_timestamp()))::float8 as delay
from ledger.batches where app_id = $1 and notification_id = $2 and settled_at is null;

-- name: planning_hint
select plan_seq from ledger.runs where app_id = $1 and notification_id = $2 and not planned;

-- name: sweep_batches
with gone as (
  select batch_no, epoch, tries, provider, device_ids, begun_at is not null as suspect
  from ledger.batches
  where app_id = $1 and notification_id = $2 and settled_at is null
    and (begun_at is null or lease_until < clock_timestamp())
  limit 20 for update skip locked
), swept as (
  update ledger.batches b
  set settled_at = clock_timestamp(), epoch = b.epoch + 1, device_ids = null,
      cancelled = b.cancelled + case when $3 = 'cancelled' then cardinality(g.device_ids) else 0 end,
      expired = b.expired + case when $3 = 'expired' then cardinality(g.device_ids) else 0 end,
      codes = ledger.add_counts(b.codes, jsonb_build_object($4::text, cardinality(g.device_ids)))
  from gone g where b.app_id = $1 and b.notification_id = $2 and b.batch_no = g.batch_no
), lost as (
  insert into ledger.attempts (app_id, notification_id, device_id, batch_no, epoch, verdict, code, at)
  select $1, $2, d, g.batch_no, g.epoch, 'ambiguous', 'worker_lost', clock_timestamp()
  from gone g, unnest(g.device_ids) as d where g.suspect
), ended as (
  insert into ledger.deliveries (app_id, notification_id, device_id, state, code, provider, attempts, batch_no, settled_at)
  select $1, $2, d, $3, $4, g.provider, g.tries + g.suspect::int, g.batch_no, clock_timestamp()
  from gone g, unnest(g.device_ids) as d
)
select count(*)::int from gone;

-- name: watch_overdue_batches
with due as (
  select b.app_id, b.notification_id, b.batch_no
  from ledger.batches b join ledger.runs r on r.app_id = b.app_id and r.notification_id = b.notification_id
  where b.settled_at is null and r.status = 'running' and b.due_at <= clock_timestamp()
    and (b.lease_until is null or b.lease_until < clock_timestamp())
    and (b.woken_at < greatest(b.due_at, b.lease_until) or b.woken_at < clock_timestamp() - interval '5 min')
  order by b.due_at limit $1 for update of b skip locked
)
update ledger.batches b set woken_at = clock_timestamp()
from due where b.app_id = due.app_id and b.notification_id = due.notification_id and b.batch_no = due.batch_no
returning b.app_id, b.notification_id, b.batch_no, b.class, b.n;

-- name: watch_overdue_pages
with due as (
  select app_id, notification_id from ledger.runs
  where status in ('accepted', 'running') and not planned and woken_at < clock_timestamp() - interval '30 s'
  order by woken_at limit $1 for update skip locked
)
update ledger.runs r set woken_at = clock_timestamp()
from due where r.app_id = due.app_id and r.notification_id = due.notification_id
returning r.app_id, r.notification_id, r.plan_seq, r.class;

-- name: watch_unfinished
select r.app_id, r.notification_id, r.status, r.expires_at < clock_timestamp() as expired
from ledger.runs r
where r.status = 'cancelling'
   or (r.status in ('running', 'paused') and r.expires_at < clock_timestamp())
   or (r.status = 'running' and r.planned and r.updated_at < clock_timestamp() - interval '2 s'
       and not exists (select b.batch_no from ledger.batches b
                       where b.app_id = r.app_id and b.notification_id = r.notification_id and b.settled_at is null))
order by r.updated_at limit $1;
