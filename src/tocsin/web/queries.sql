-- name: take_key
-- A twin that is still running holds the row: this waits for it, up to the lock timeout. A key past its time is new again.
insert into web.idempotency as kept (app_id, key_hash, body_hash, expires_at)
values ($1, $2, $3, now() + interval '24 hours')
on conflict (app_id, key_hash) do update
set body_hash = excluded.body_hash, status = null, response = null, expires_at = excluded.expires_at
where kept.expires_at < now()
returning true;

-- name: find_answer
select body_hash, status, response from web.idempotency
where app_id = $1 and key_hash = $2 and expires_at >= now();

-- name: keep_answer
update web.idempotency set status = $3, response = $4 where app_id = $1 and key_hash = $2;

-- name: forget_expired
delete from web.idempotency where expires_at < now();
