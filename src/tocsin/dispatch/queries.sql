-- Circuit breakers: a row stands while a credential is refused.

-- name: breaker
select failures, extract(epoch from probe_at - clock_timestamp())::float8 as wait
from dispatch.breakers where app_id = $1 and credential_id = $2;

-- name: take_probe
-- Whoever moves probe_at on is the one that probes; the others wait for it.
update dispatch.breakers set probe_at = clock_timestamp() + interval '30 s'
where app_id = $1 and credential_id = $2 and probe_at <= clock_timestamp();

-- name: open_breaker
insert into dispatch.breakers (app_id, credential_id, failures, reason, opened_at, probe_at)
values ($1, $2, 1, $3, clock_timestamp(), clock_timestamp() + make_interval(secs => $4))
on conflict (app_id, credential_id) do update
set failures = dispatch.breakers.failures + 1, reason = excluded.reason, probe_at = excluded.probe_at;

-- name: close_breaker
delete from dispatch.breakers where app_id = $1 and credential_id = $2;
