-- The spine: one schema a room, machine tables in lanes and storage, day partitions by notification id.
-- Every table but the machine tables is under FORCE row-level security. No foreign key enters or leaves a partitioned table.
-- The first migration runs on an empty database: nobody reads or writes a table that an index is made on.
-- squawk-ignore-file require-concurrent-index-creation

create schema tenants;
create schema web;
create schema intake;
create schema content;
create schema audience;
create schema dispatch;
create schema ledger;
create schema lanes;

-- ------------------------------------------------------------------ tenants
create table tenants.tenants (
  tenant_id  uuid primary key,
  name       text not null,
  created_at timestamptz not null default now()
);
create table tenants.apps (
  app_id     uuid primary key,
  tenant_id  uuid not null references tenants.tenants,
  name       text not null,
  mode       text not null check (mode in ('test', 'live')),
  created_at timestamptz not null default now(),
  unique (tenant_id, app_id)
);
create table tenants.api_keys (
  key_id     text primary key,
  tenant_id  uuid not null,
  app_id     uuid not null,
  mode       text not null check (mode in ('test', 'live')),
  name       text not null,
  hash       bytea not null,
  last4      text not null,
  scopes     text[] not null default '{}',
  created_at timestamptz not null default now(),
  revoked_at timestamptz,
  foreign key (tenant_id, app_id) references tenants.apps (tenant_id, app_id)
);
create table tenants.credentials (
  app_id          uuid not null references tenants.apps,
  credential_id   uuid not null,
  provider        text not null,
  name            text not null,
  mode            text not null check (mode in ('test', 'live')),
  sealed          bytea not null,
  envelope_key_id text not null,
  version         integer not null default 1,
  public          jsonb not null default '{}',
  state           text not null default 'active' check (state in ('active', 'disabled')),
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  primary key (app_id, credential_id),
  unique (app_id, provider, name)
);

-- ------------------------------------------------------------------ web
create table web.idempotency (
  app_id     uuid not null,
  key_hash   bytea not null,
  body_hash  bytea not null,
  status     smallint,
  response   bytea,
  expires_at timestamptz not null,
  primary key (app_id, key_hash)
);
create index idempotency_expires_at on web.idempotency (expires_at);

-- ------------------------------------------------------------------ intake
create table intake.notifications (
  app_id          uuid not null,
  notification_id uuid not null,
  accepted_at     timestamptz not null,
  expires_at      timestamptz not null,
  target          jsonb not null,
  options         jsonb not null,
  replay_of       uuid,
  primary key (app_id, notification_id)
) partition by range (notification_id);

-- ------------------------------------------------------------------ content
create table content.messages (
  app_id          uuid not null,
  notification_id uuid not null,
  message         jsonb not null,
  primary key (app_id, notification_id)
) partition by range (notification_id);

-- ------------------------------------------------------------------ audience
create table audience.devices (
  app_id        uuid not null,
  device_id     uuid not null,
  external_id   text not null,
  provider      text not null,
  environment   text not null default 'production',
  token         text,
  token_hash    bytea,
  keys          jsonb,
  token_version integer not null default 1,
  token_set_at  timestamptz not null,
  bound_at      timestamptz not null,
  user_id       text,
  locale        text,
  timezone      text,
  state         text not null default 'active' check (state in ('active', 'dead', 'superseded', 'logged_out')),
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now(),
  primary key (app_id, device_id),
  unique (app_id, external_id)
) with (fillfactor = 85);
create unique index devices_token on audience.devices (app_id, provider, environment, token_hash)
  where token_hash is not null;
create index devices_user on audience.devices (app_id, user_id, device_id) where user_id is not null;
create index devices_inactive on audience.devices (app_id, state, device_id) where state <> 'active';
create index devices_active on audience.devices (app_id, device_id) include (provider) where state = 'active';
create table audience.details (
  app_id     uuid not null,
  device_id  uuid not null,
  attributes jsonb not null default '{}',
  primary key (app_id, device_id),
  foreign key (app_id, device_id) references audience.devices on delete cascade
);
create table audience.imports (
  app_id     uuid not null,
  import_id  text not null,
  lines      bigint not null default 0,
  accepted   bigint not null default 0,
  rejected   bigint not null default 0,
  finished   boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (app_id, import_id)
);

-- ------------------------------------------------------------------ dispatch
create table dispatch.breakers (
  app_id        uuid not null,
  credential_id uuid not null,
  failures      integer not null,
  reason        text not null,
  opened_at     timestamptz not null,
  probe_at      timestamptz not null,
  primary key (app_id, credential_id)
);

-- ------------------------------------------------------------------ ledger
create table ledger.runs (
  app_id          uuid not null,
  notification_id uuid not null,
  class           text not null check (class in ('now', 'bulk')),
  on_ambiguity    text not null check (on_ambiguity in ('resend', 'drop')),
  status          text not null check (status in
                    ('accepted', 'scheduled', 'running', 'paused', 'cancelling', 'completed', 'cancelled', 'failed')),
  accepted_at     timestamptz not null,
  expires_at      timestamptz not null,
  plan_seq        integer not null default 0,
  plan_cursor     uuid,
  plan_upper      uuid,
  planned         boolean not null default false,
  targeted        bigint not null default 0,
  counts          jsonb,
  woken_at        timestamptz not null,
  updated_at      timestamptz not null,
  primary key (app_id, notification_id)
) partition by range (notification_id);
create index runs_open on ledger.runs (status, updated_at)
  where status in ('accepted', 'scheduled', 'running', 'paused', 'cancelling');
create sequence ledger.batch_no as bigint;
create table ledger.batches (
  app_id          uuid not null,
  notification_id uuid not null,
  batch_no        bigint not null default nextval('ledger.batch_no'),
  class           text not null,
  credential_id   uuid,
  provider        text,
  tries           smallint not null default 0,
  device_ids      uuid[],
  n               integer not null,
  planned_at      timestamptz not null,
  due_at          timestamptz not null,
  epoch           integer not null default 0,
  deaths          smallint not null default 0,
  begun_at        timestamptz,
  lease_until     timestamptz,
  holder          text,
  settled_at      timestamptz,
  woken_at        timestamptz not null,
  sent            integer not null default 0,
  rejected        integer not null default 0,
  expired         integer not null default 0,
  cancelled       integer not null default 0,
  suppressed      integer not null default 0,
  failed          integer not null default 0,
  codes           jsonb,
  primary key (app_id, notification_id, batch_no)
) partition by range (notification_id);
create index batches_open on ledger.batches (app_id, notification_id) where settled_at is null;
create index batches_due on ledger.batches (due_at) where settled_at is null;
create function ledger.add_counts(jsonb, jsonb) returns jsonb language sql immutable parallel safe
  return (select jsonb_object_agg(code, n) from (
    select key as code, sum(value::int) as n
    from (select * from jsonb_each_text(coalesce($1, '{}')) union all select * from jsonb_each_text(coalesce($2, '{}')))
    group by key));
create table ledger.deliveries (
  app_id          uuid not null,
  notification_id uuid not null,
  device_id       uuid not null,
  state           text not null check (state in ('sent', 'rejected', 'expired', 'cancelled', 'suppressed', 'failed')),
  code            text not null,
  provider        text not null,
  attempts        smallint not null,
  batch_no        bigint not null,
  provider_ref    text,
  detail          text,
  settled_at      timestamptz not null,
  primary key (app_id, notification_id, device_id)
) partition by range (notification_id);
create index deliveries_state on ledger.deliveries (app_id, notification_id, state, device_id) where state <> 'sent';
create index deliveries_device on ledger.deliveries (app_id, device_id, notification_id);
create table ledger.attempts (
  app_id          uuid not null,
  notification_id uuid not null,
  device_id       uuid not null,
  batch_no        bigint not null,
  epoch           integer not null,
  verdict         text not null check (verdict in ('ambiguous', 'throttled', 'transient', 'credential_fault', 'unsent')),
  code            text not null,
  detail          text,
  at              timestamptz not null,
  due_at          timestamptz,
  primary key (app_id, notification_id, device_id, batch_no, epoch)
) partition by range (notification_id);
create table ledger.receipts (
  app_id          uuid not null,
  notification_id uuid not null,
  device_id       uuid not null,
  kind            text not null check (kind in ('delivered', 'opened', 'clicked', 'dismissed')),
  at              timestamptz not null,
  primary key (app_id, notification_id, device_id, kind)
) partition by range (notification_id);

-- ------------------------------------------------------------------ lanes (machine table: ids only, no row-level security)
create table lanes.messages (
  message_id bigint generated always as identity primary key,
  lane       text not null,
  class      text not null,
  tag        double precision not null,
  app_id     uuid not null,
  body       jsonb not null,
  receives   integer not null default 0,
  lease      bigint not null default 0,
  visible_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create index messages_ready on lanes.messages (lane, class, tag) where visible_at is null;
create index messages_waiting on lanes.messages (visible_at) where visible_at is not null;
create table lanes.beats (
  name text primary key,
  at   timestamptz not null
);

-- ------------------------------------------------------------------ row-level security
do $$
declare t text;
begin
  foreach t in array array['tenants.tenants', 'tenants.apps', 'tenants.api_keys', 'tenants.credentials', 'web.idempotency',
    'intake.notifications', 'content.messages', 'audience.devices', 'audience.details', 'audience.imports',
    'dispatch.breakers', 'ledger.runs', 'ledger.batches', 'ledger.deliveries', 'ledger.attempts', 'ledger.receipts']
  loop
    execute format('alter table %s enable row level security', t);
    execute format('alter table %s force row level security', t);
  end loop;
  foreach t in array array['tenants.credentials', 'web.idempotency',
    'intake.notifications', 'content.messages', 'audience.devices', 'audience.details', 'audience.imports',
    'dispatch.breakers', 'ledger.runs', 'ledger.batches', 'ledger.deliveries', 'ledger.attempts', 'ledger.receipts']
  loop
    execute format('create policy app on %s to tocsin_app using (app_id = (select nullif(current_setting(''tocsin.app'', true), '''')::uuid))', t);
    execute format('grant select, insert, update, delete on %s to tocsin_app', t);
  end loop;
  foreach t in array array['tenants.tenants', 'tenants.apps', 'tenants.api_keys'] loop
    execute format('create policy tenant on %s to tocsin_app using (tenant_id = (select nullif(current_setting(''tocsin.tenant'', true), '''')::uuid))', t);
    execute format('grant select, insert, update on %s to tocsin_app', t);
  end loop;
end $$;
-- a key is found before its tenant is known
create policy key on tenants.api_keys for select to tocsin_app
  using (key_id = (select nullif(current_setting('tocsin.key', true), '')));
-- work knows its app only
create policy app on tenants.apps for select to tocsin_app
  using (app_id = (select nullif(current_setting('tocsin.app', true), '')::uuid));
-- the operator's command line lists organisations; it runs as the owner, never in a request
create policy operator on tenants.tenants for select to tocsin_owner using (true);
create policy operator on tenants.apps for select to tocsin_owner using (true);
create policy operator on tenants.api_keys for select to tocsin_owner using (true);
-- a day's partitions are dropped by the owner, never while one of its runs is open
create policy retention on ledger.runs for select to tocsin_owner
  using (status in ('accepted', 'scheduled', 'running', 'paused', 'cancelling'));

-- the keeper finds overdue work of all apps: ids, times and states, never devices, targets or content
grant usage on schema ledger, lanes, web to tocsin_keeper;
grant select (app_id, notification_id, class, status, planned, plan_seq, expires_at, woken_at, updated_at) on ledger.runs to tocsin_keeper;
grant update (woken_at) on ledger.runs to tocsin_keeper;
grant select (app_id, notification_id, batch_no, class, n, due_at, begun_at, lease_until, settled_at, woken_at) on ledger.batches to tocsin_keeper;
grant update (woken_at) on ledger.batches to tocsin_keeper;
create policy keeper_reads on ledger.runs for select to tocsin_keeper
  using (status in ('accepted', 'scheduled', 'running', 'paused', 'cancelling'));
create policy keeper_wakes on ledger.runs for update to tocsin_keeper
  using (status in ('accepted', 'scheduled', 'running', 'paused', 'cancelling'));
create policy keeper_reads on ledger.batches for select to tocsin_keeper using (settled_at is null);
create policy keeper_wakes on ledger.batches for update to tocsin_keeper using (settled_at is null);
grant select (expires_at), delete on web.idempotency to tocsin_keeper;
create policy keeper_expires on web.idempotency to tocsin_keeper using (expires_at < now());

grant usage on schema tenants, web, intake, content, audience, dispatch, ledger, lanes to tocsin_app;
grant usage on sequence ledger.batch_no to tocsin_app;
grant select, insert, update, delete on lanes.messages to tocsin_app, tocsin_keeper;
grant select on lanes.beats to tocsin_app;
grant select, insert, update on lanes.beats to tocsin_keeper;
