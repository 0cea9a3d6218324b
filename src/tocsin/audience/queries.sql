-- Devices, their attributes and the state of imports. Locks are taken in one order everywhere, so that nothing here
-- can deadlock: first an import's row, then advisory locks (the app's, then keys in rising order), then device rows
-- in device_id order. Ownership instants are clock_timestamp(), read only once those locks are held: a transaction that
-- waited for a planning page must not carry an instant from before it. Look-ups by lists are lateral, so that each
-- element is one descent of an index, and registrations plan anew: while a table grows from nothing to a million rows
-- between two ANALYZEs, a plan that was kept would read all of it for each line.

-- name: lock_app
select pg_advisory_xact_lock($1), set_config('plan_cache_mode', 'force_custom_plan', true)

-- name: lock_device
select pg_advisory_xact_lock_shared($1), pg_advisory_xact_lock($2), pg_advisory_xact_lock($3),
       set_config('plan_cache_mode', 'force_custom_plan', true)

-- name: lock_rows
select d.device_id, d.external_id, d.provider, d.environment, d.token_hash
from (
  select o.device_id
  from unnest($2::text[]) as n (external_id)
  cross join lateral (
    select o.device_id from audience.devices o where o.app_id = $1 and o.external_id = n.external_id offset 0) o
  union
  select o.device_id
  from unnest($3::text[], $4::text[], $5::bytea[]) as c (provider, environment, token_hash)
  cross join lateral (
    select o.device_id from audience.devices o
    where o.app_id = $1 and o.provider = c.provider
      and o.environment = c.environment and o.token_hash = c.token_hash offset 0) o
  order by 1) as touched
cross join lateral (
  select d.device_id, d.external_id, d.provider, d.environment, d.token_hash
  from audience.devices d where d.app_id = $1 and d.device_id = touched.device_id
  for update) d

-- name: supersede
update audience.devices
set state = 'superseded', token = null, token_hash = null, keys = null, updated_at = clock_timestamp()
where app_id = $1 and device_id = any ($2::uuid[])

-- name: upsert
insert into audience.devices as d (app_id, device_id, external_id, provider, environment, token, token_hash, keys,
                                   user_id, locale, timezone, state, token_set_at, bound_at)
select $1, u.device_id, u.external_id, u.provider, u.environment, u.token, u.token_hash, u.keys,
       u.user_id, u.locale, u.timezone, u.state, clock_timestamp(), clock_timestamp()
from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::jsonb[],
            $9::text[], $10::text[], $11::text[], $12::text[])
  as u (device_id, external_id, provider, environment, token, token_hash, keys, user_id, locale, timezone, state)
on conflict (app_id, external_id) do update
set provider = excluded.provider, environment = excluded.environment,
    token = excluded.token, token_hash = excluded.token_hash, keys = excluded.keys,
    -- a dead token registered again is alive again: hints about its old life carry the old version
    token_version = d.token_version + case
      when d.state = 'dead'
        or (d.provider, d.environment, d.token_hash, d.keys)
           is distinct from (excluded.provider, excluded.environment, excluded.token_hash, excluded.keys)
      then 1 else 0 end,
    token_set_at = excluded.token_set_at,
    bound_at = case
      when (d.provider, d.environment, d.token_hash, d.keys, d.user_id)
           is distinct from (excluded.provider, excluded.environment, excluded.token_hash, excluded.keys, excluded.user_id)
      then excluded.bound_at else d.bound_at end,
    user_id = excluded.user_id, locale = excluded.locale, timezone = excluded.timezone,
    state = excluded.state, updated_at = clock_timestamp()
returning d.device_id, d.external_id

-- name: describe
insert into audience.details (app_id, device_id, attributes)
select $1, u.device_id, u.attributes from unnest($2::uuid[], $3::jsonb[]) as u (device_id, attributes)
on conflict (app_id, device_id) do update set attributes = excluded.attributes

-- name: undescribe
delete from audience.details where app_id = $1 and device_id = any ($2::uuid[])

-- name: read_device
select d.device_id, d.external_id, d.provider, d.environment, right(d.token, 6) as token_suffix, d.token_hash, d.user_id,
       d.locale, d.timezone, d.state, d.created_at, d.updated_at, coalesce(x.attributes, '{}') as attributes
from audience.devices d
left join audience.details x on x.app_id = d.app_id and x.device_id = d.device_id
where d.app_id = $1 and d.external_id = $2

-- name: list_devices
select d.device_id, d.external_id, d.provider, d.environment, right(d.token, 6) as token_suffix, d.token_hash, d.user_id,
       d.locale, d.timezone, d.state, d.created_at, d.updated_at, coalesce(x.attributes, '{}') as attributes
from audience.devices d
left join audience.details x on x.app_id = d.app_id and x.device_id = d.device_id
where d.app_id = $1 and d.device_id > $2
  and ($3::text is null or d.provider = $3) and ($4::text is null or d.state = $4)
order by d.device_id
limit $5

-- name: list_inactive
select d.device_id, d.external_id, d.provider, d.environment, right(d.token, 6) as token_suffix, d.token_hash, d.user_id,
       d.locale, d.timezone, d.state, d.created_at, d.updated_at, coalesce(x.attributes, '{}') as attributes
from audience.devices d
left join audience.details x on x.app_id = d.app_id and x.device_id = d.device_id
where d.app_id = $1 and d.device_id > $2
  and ($3::text is null or d.provider = $3) and d.state = $4 and d.state <> 'active'
order by d.device_id
limit $5

-- name: list_devices_of_user
select d.device_id, d.external_id, d.provider, d.environment, right(d.token, 6) as token_suffix, d.token_hash, d.user_id,
       d.locale, d.timezone, d.state, d.created_at, d.updated_at, coalesce(x.attributes, '{}') as attributes
from audience.devices d
left join audience.details x on x.app_id = d.app_id and x.device_id = d.device_id
where d.app_id = $1 and d.device_id > $2
  and ($3::text is null or d.provider = $3) and ($4::text is null or d.state = $4) and d.user_id = $6
order by d.device_id
limit $5

-- name: delete_device
delete from audience.devices where app_id = $1 and external_id = $2 returning device_id

-- name: logout
update audience.devices
set user_id = null, bound_at = clock_timestamp(), updated_at = clock_timestamp(),
    state = case state when 'active' then 'logged_out' else state end
where app_id = $1 and external_id = $2
returning device_id

-- name: newest
select device_id from audience.devices where app_id = $1 order by device_id desc limit 1

-- name: address_all
select d.device_id, d.provider
from audience.devices d
where d.app_id = $1 and d.state = 'active' and d.device_id > $2 and d.device_id <= $3
order by d.device_id
limit $4

-- name: address_named
-- The rows are share-locked until the plan is committed: an owner that changes does so before the page is read, or
-- after the plan with a later bound_at, never between the two.
select d.device_id, d.provider
from (
  select n.device_id
  from unnest($5::text[]) as u (user_id)
  cross join lateral (
    select n.device_id from audience.devices n
    where n.app_id = $1 and n.state = 'active' and n.user_id = u.user_id
      and n.device_id > $2 and n.device_id <= $3 offset 0) n
  union
  select n.device_id
  from unnest($6::text[]) as u (external_id)
  cross join lateral (
    select n.device_id from audience.devices n
    where n.app_id = $1 and n.external_id = u.external_id
      and n.device_id > $2 and n.device_id <= $3 offset 0) n
  order by 1) as named
cross join lateral (
  select d.device_id, d.provider from audience.devices d
  where d.app_id = $1 and d.device_id = named.device_id and d.state = 'active'
    and (d.user_id = any ($5::text[]) or d.external_id = any ($6::text[]))
  for share) d
limit $4

-- name: reach
select d.device_id, d.token, d.token_version, d.keys, d.state, d.bound_at <= $3 as still_bound
from audience.devices d
where d.app_id = $1 and d.device_id = any ($2::uuid[])

-- name: known
select external_id from audience.devices where app_id = $1 and external_id = any ($2::text[])

-- name: locate
select device_id from audience.devices where app_id = $1 and external_id = $2;

-- name: names
select device_id, external_id from audience.devices where app_id = $1 and device_id = any ($2::uuid[])

-- name: forget
with doomed as (
  select d.device_id
  from unnest($2::uuid[], $3::integer[], $4::timestamptz[]) as u (device_id, version, dead_at)
  join audience.devices d on d.app_id = $1 and d.device_id = u.device_id
  where d.state = 'active' and d.token_version = u.version and (u.dead_at is null or d.token_set_at < u.dead_at)
  order by d.device_id
  for update of d)
update audience.devices d
set state = 'dead', updated_at = clock_timestamp()
from doomed
where d.app_id = $1 and d.device_id = doomed.device_id
returning d.device_id

-- name: open_import
insert into audience.imports (app_id, import_id) values ($1, $2) on conflict (app_id, import_id) do nothing

-- name: read_import
select import_id, lines, accepted, rejected, finished, created_at, updated_at
from audience.imports
where app_id = $1 and import_id = $2

-- name: advance_import
update audience.imports
set lines = $4, accepted = accepted + $5, rejected = rejected + $6, finished = $7, updated_at = clock_timestamp()
where app_id = $1 and import_id = $2 and lines = $3
returning import_id, lines, accepted, rejected, finished, created_at, updated_at
