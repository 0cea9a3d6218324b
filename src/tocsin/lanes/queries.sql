-- The lane in one table. Ready messages have no visible_at; claimed and delayed ones wait for theirs.

-- name: put
insert into lanes.messages (lane, class, tag, app_id, body, visible_at)
select $1, m.class, m.tag, m.app_id, m.body,
       case when m.delay > 0 then clock_timestamp() + make_interval(secs => m.delay) end
from unnest($2::text[], $3::float8[], $4::uuid[], $5::jsonb[], $6::float8[]) as m(class, tag, app_id, body, delay);

-- name: head
select min(tag) from lanes.messages where lane = $1 and visible_at is null;

-- name: ripen
update lanes.messages set visible_at = null
where message_id in (select message_id from lanes.messages where visible_at <= clock_timestamp()
                     order by visible_at limit 1000 for update skip locked);

-- name: claim
with first as (
  select message_id from lanes.messages where lane = $1 and class = $2 and visible_at is null
  order by tag limit $4 for update skip locked
), second as (
  select message_id from lanes.messages where lane = $1 and class = $3 and visible_at is null
  order by tag limit $4 - (select count(*) from first) for update skip locked
)
update lanes.messages m
set visible_at = clock_timestamp() + make_interval(secs => $5), receives = m.receives + 1, lease = m.lease + 1
where m.message_id in (select message_id from first union all select message_id from second)
returning m.message_id, m.class, m.tag, m.app_id, m.body, m.receives, m.lease;

-- name: extend
update lanes.messages m set visible_at = clock_timestamp() + make_interval(secs => $3)
from unnest($1::bigint[], $2::bigint[]) as c(message_id, lease)
where m.message_id = c.message_id and m.lease = c.lease;

-- name: ack
delete from lanes.messages m using unnest($1::bigint[], $2::bigint[]) as c(message_id, lease)
where m.message_id = c.message_id and m.lease = c.lease;

-- name: forget_dead
delete from lanes.messages where receives > $1;

-- name: beat
insert into lanes.beats (name, at) values ($1, clock_timestamp())
on conflict (name) do update set at = excluded.at;

-- name: pulse
select extract(epoch from clock_timestamp() - at)::float8 from lanes.beats where name = $1;

-- name: take_watch
select pg_try_advisory_xact_lock(7230961);
