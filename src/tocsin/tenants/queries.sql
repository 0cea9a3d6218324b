-- name: use_key
select set_config('tocsin.key', $1, true);

-- name: find_key
select tenant_id, app_id, mode, hash, revoked_at from tenants.api_keys where key_id = $1;

-- name: insert_tenant
insert into tenants.tenants (tenant_id, name) values ($1, $2);

-- name: tenant_exists
select exists (select from tenants.tenants where tenant_id = $1);

-- name: insert_app
insert into tenants.apps (app_id, tenant_id, name, mode) values ($1, $2, $3, $4);

-- name: find_app
select tenant_id, app_id, name, mode, created_at from tenants.apps where app_id = $1;

-- name: insert_key
insert into tenants.api_keys (key_id, tenant_id, app_id, mode, name, hash, last4) values ($1, $2, $3, $4, $5, $6, $7);

-- name: revoke_key
update tenants.api_keys set revoked_at = coalesce(revoked_at, now()) where key_id = $1 returning revoked_at;

-- name: list_tenants
select tenant_id, name, created_at from tenants.tenants order by tenant_id;

-- name: list_apps
select app_id, tenant_id, name, mode, created_at from tenants.apps
where $1::uuid is null or tenant_id = $1
order by app_id;

-- name: list_keys
select key_id, tenant_id, app_id, mode, name, last4, created_at, revoked_at from tenants.api_keys
where $1::uuid is null or app_id = $1
order by created_at, key_id;

-- name: lock_credential
select credential_id, version from tenants.credentials
where app_id = $1 and provider = $2 and name = $3
for update;

-- name: insert_credential
insert into tenants.credentials
  (app_id, credential_id, provider, name, mode, sealed, envelope_key_id, version, public)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: replace_credential
update tenants.credentials
set sealed = $3, envelope_key_id = $4, version = $5, public = $6, state = 'active', updated_at = now()
where app_id = $1 and credential_id = $2;

-- name: disable_credential
update tenants.credentials set state = 'disabled', updated_at = now()
where app_id = $1 and credential_id = $2
returning credential_id;

-- name: find_credential
select app_id, credential_id, provider, name, mode, version, sealed from tenants.credentials
where app_id = $1 and credential_id = $2 and state = 'active';

-- name: active_credentials
select distinct on (provider) provider, credential_id from tenants.credentials
where app_id = $1 and state = 'active'
order by provider, updated_at desc, credential_id desc;

-- name: public_credential
select public from tenants.credentials
where app_id = $1 and provider = $2 and state = 'active'
order by updated_at desc, credential_id desc
limit 1;

-- name: list_credentials
select credential_id, provider, name, mode, version, envelope_key_id, public, state, created_at, updated_at
from tenants.credentials where app_id = $1
order by provider, name;
