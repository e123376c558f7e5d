-- Every function that runs with more rights than its caller. A test compares the database with this file.
-- :auth, :index and :jobs are the NOLOGIN roles that own them. None takes a tenant: it is read from the transaction.

-- owner: auth
-- A key that a person made ends when the person may come in no more, and never does more than the person may: `role` is
-- the person's, null where nobody made it.
create or replace function find_key(key uuid)
returns table (kind text, tenant_id uuid, mac bytea, scopes text[], source_ids uuid[], bot_ids uuid[],
               expires_at timestamptz, expired boolean, revoked boolean, active boolean, stale boolean, made_by uuid, role text)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select 'api_key', k.tenant_id, k.mac, k.scopes,
           case when k.source_ids is null and k.bot_ids is null then null
                when k.bot_ids is null then k.source_ids
                else array(select distinct b.source_id from bot_sources b
                           where b.tenant_id = k.tenant_id and b.bot_id = any (k.bot_ids)
                             and (k.source_ids is null or b.source_id = any (k.source_ids))) end,
           k.bot_ids, k.expires_at, coalesce(k.expires_at <= now(), false), k.revoked_at is not null,
           t.status = 'active' and (k.made_by is null or coalesce(m.status = 'active' and u.status = 'active', false)),
           coalesce(k.last_used_at < now() - interval '1 minute', true), k.made_by, m.role
    from api_keys k join tenants t on t.id = k.tenant_id
    left join memberships m on m.tenant_id = k.tenant_id and m.user_id = k.made_by
    left join users u on u.id = k.made_by
    where k.id = key
    union all
    select 'operator_key', null, o.mac, '{}', null, null, o.expires_at, coalesce(o.expires_at <= now(), false),
           o.revoked_at is not null, true, coalesce(o.last_used_at < now() - interval '1 minute', true), null, null
    from operator_keys o where o.id = key
$$;

-- owner: auth
-- Where the person of a session may come in now: active members of active tenants. `live` is the session's own state.
create or replace function find_session(session uuid)
returns table (user_id uuid, live boolean, verified boolean, tenants uuid[], roles text[])
language sql stable security definer set search_path = carrel, pg_temp as $$
    select s.user_id, s.ended_at is null and s.expires_at > now() and u.status = 'active' and s.epoch = u.epoch,
           u.verified_at is not null, coalesce(array_agg(m.tenant_id order by m.tenant_id) filter (where t.id is not null), '{}'),
           coalesce(array_agg(m.role order by m.tenant_id) filter (where t.id is not null), '{}')
    from sessions s join users u on u.id = s.user_id
    left join memberships m on m.user_id = s.user_id and m.status = 'active'
    left join tenants t on t.id = m.tenant_id and t.status = 'active'
    where s.id = session
    group by s.id, u.id
$$;

-- owner: auth
-- The tenants that a person is a member of, for choosing one.
create or replace function memberships_of(person uuid)
returns table (tenant_id uuid, slug text, name text, role text, status text)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select m.tenant_id, t.slug, t.name, m.role, case when t.status = 'active' then m.status else t.status end
    from memberships m join tenants t on t.id = m.tenant_id
    where m.user_id = person and t.status <> 'deleting' order by t.slug
$$;

-- owner: auth
-- An invitation before its tenant is known: whose it is, and whether it can still be accepted.
create or replace function find_invitation(invitation uuid)
returns table (tenant_id uuid, email text, role text, mac bytea, live boolean)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select i.tenant_id, i.email, i.role, i.mac,
           i.accepted_at is null and i.revoked_at is null and i.expires_at > now() and t.status = 'active'
    from invitations i join tenants t on t.id = i.tenant_id where i.id = invitation
$$;

-- owner: auth
-- Who comes with a proven token of another issuer: the person, the places that the person has by now, and what the groups
-- of the token give, the mightiest role of each tenant. `by_groups` are places that groups may change or take away:
-- active ones of this issuer that are no owner's. One row always; no person at first sight.
create or replace function find_login(login_issuer text, login_subject text, login_groups text[])
returns table (user_id uuid, active boolean, claimed_at timestamptz, tenants uuid[], roles text[], present boolean[],
               by_groups boolean[], granted_tenants uuid[], granted_roles text[])
language sql stable security definer set search_path = carrel, pg_temp as $$
    with person as (
        select i.user_id, u.status = 'active' as active, i.claimed_at from identities i join users u on u.id = i.user_id
        where i.issuer = login_issuer and i.subject = login_subject
    ), places as (
        select m.tenant_id, m.role, m.status = 'active' as present,
               m.status = 'active' and m.role <> 'owner' and m.issuer is not distinct from login_issuer as by_groups
        from memberships m join person p on p.user_id = m.user_id join tenants t on t.id = m.tenant_id and t.status = 'active'
    ), granted as (
        select distinct on (t.id) t.id as tenant_id, g.role
        from group_grants g join tenants t on t.id = g.for_tenant and t.status = 'active'
        where g.issuer = login_issuer and g.group_name = any (login_groups)
        order by t.id, array_position(array['admin', 'editor', 'viewer'], g.role)
    ), held as (
        select array_agg(tenant_id) as tenants, array_agg(role) as roles, array_agg(present) as present,
               array_agg(by_groups) as by_groups from places
    ), given as (select array_agg(tenant_id) as tenants, array_agg(role) as roles from granted)
    select p.user_id, coalesce(p.active, true), p.claimed_at, coalesce(h.tenants, '{}'), coalesce(h.roles, '{}'),
           coalesce(h.present, '{}'), coalesce(h.by_groups, '{}'), coalesce(g.tenants, '{}'), coalesce(g.roles, '{}')
    from held h cross join given g left join person p on true
$$;

-- owner: jobs
-- A start-time fair queueing tag (Goyal, Vin, Cheng 1996): a tenant that was idle starts at the present turn, one that
-- queues much pushes only its own jobs back. A job's cost is paid by its tenant's next one, so a large file of an idle
-- tenant waits no longer than a small one. Jobs that wait for their time, or for a tenant
-- that is not active, do not hold the present back; nor does a source's next run, whose turn was given when the last one ended.
create or replace function enqueue_job(job uuid, job_kind text, subject uuid, owner uuid, delay interval, cost integer)
returns void
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    present bigint;
    following bigint;
begin
    present := coalesce((select min(j.turn) from jobs j where j.leased_until is null and j.due_at <= now()
                         and j.due_at < 'infinity' and j.kind <> 'refresh' and (select a.status from tenants a where a.id = j.tenant_id) = 'active'),
                        (select max(t.turn) from job_turns t), 0);
    insert into job_turns as t (tenant_id, turn) values (tenant, present + cost)
    on conflict (tenant_id) do update set turn = greatest(t.turn, present) + cost
    returning t.turn into following;
    insert into jobs as j (tenant_id, id, kind, subject_id, owner_id, turn, due_at)
    values (tenant, job, job_kind, subject, owner, following - cost, now() + delay)
    on conflict (tenant_id, kind, subject_id) do update set asked_again = true, due_at = least(j.due_at, excluded.due_at);
    if delay <= interval '0' then
        perform pg_notify('carrel_jobs', tenant::text);
    end if;
end
$$;

-- owner: jobs
-- The job of this lease is done, and begins anew after a delay (at once if it was asked for meanwhile) and in a turn of its
-- own, as if it were asked for now. False when the lease is lost. The tenant's turn is locked before the job, as always.
create or replace function repeat_job(job uuid, epoch bigint, delay interval)
returns boolean
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    present bigint;
    following bigint;
begin
    present := coalesce((select min(j.turn) from jobs j where j.leased_until is null and j.due_at <= now()
                         and j.due_at < 'infinity' and j.kind <> 'refresh' and (select a.status from tenants a where a.id = j.tenant_id) = 'active'),
                        (select max(t.turn) from job_turns t), 0);
    insert into job_turns as t (tenant_id, turn) values (tenant, present + 1)
    on conflict (tenant_id) do update set turn = greatest(t.turn, present) + 1
    returning t.turn into following;
    update jobs j set leased_until = null, attempts = 0, asked_again = false, turn = following - 1,
                      due_at = now() + case when j.asked_again then interval '0' else delay end
    where j.tenant_id = tenant and j.id = job and j.lease_epoch = epoch;
    return found;
end
$$;

-- owner: jobs
-- Looks at the front of the queue alone: whoever is new starts at the present turn, so a newcomer's job is never far back.
-- What a tenant that is not active has asked for waits until it is; what it wants forgotten is forgotten all the same.
-- The runs of a private source wait as long as its owner may not have one.
-- Read in the order of the turns: a planner that may sort gathers every job that waits, at each claim. The few that were
-- found are sorted all the same, and up to PostgreSQL 17 that looks so expensive that each claim would be compiled.
create or replace function claim_jobs(job_kinds text[], lease interval, most integer, passed_over uuid[])
returns table (tenant_id uuid, id uuid, kind text, subject_id uuid, owner_id uuid, attempts integer, lease_epoch bigint,
               orphaned boolean)
language plpgsql volatile security definer set search_path = carrel, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
begin
    return query
    with front as materialized (
        select j.tenant_id, j.id from jobs j
        where j.kind = any (job_kinds) and j.due_at <= now() and j.due_at < 'infinity'
          and (j.leased_until is null or j.leased_until < now())
          and j.tenant_id <> all (passed_over)
          and (j.kind not in ('ingest', 'weigh', 'reshape', 'refresh')
               or (select t.status from tenants t where t.id = j.tenant_id) = 'active')
          and (j.kind <> 'refresh' or j.owner_id is null or source_stands(j.tenant_id, j.subject_id) is not false)
        order by j.turn, j.created_at limit most + 100
    ), next as (
        select j.tenant_id, j.id, j.leased_until is not null as orphaned
        from jobs j join front f on f.tenant_id = j.tenant_id and f.id = j.id
        where j.leased_until is null or j.leased_until < now()
        order by j.turn, j.created_at limit most
        for update of j skip locked
    )
    update jobs j set lease_epoch = j.lease_epoch + 1, leased_until = now() + lease, asked_again = false
    from next n where j.tenant_id = n.tenant_id and j.id = n.id
    returning j.tenant_id, j.id, j.kind, j.subject_id, j.owner_id, j.attempts + 1, j.lease_epoch, n.orphaned;
end
$$;

-- owner: jobs
-- A tenant that was away comes back as a newcomer: its jobs keep their order, and the first has the present turn.
create or replace function rejoin_queue()
returns void
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    behind bigint;
begin
    select min(others.turn)
           - (select min(own.turn) from jobs own where own.tenant_id = tenant and own.due_at < 'infinity') into behind
    from jobs others where others.tenant_id <> tenant and others.leased_until is null and others.due_at <= now()
      and others.due_at < 'infinity'
      and (select a.status from tenants a where a.id = others.tenant_id) = 'active';
    if behind > 0 then
        update jobs j set turn = j.turn + behind where j.tenant_id = tenant;
        update job_turns t set turn = t.turn + behind where t.tenant_id = tenant;
    end if;
    perform pg_notify('carrel_jobs', tenant::text);
end
$$;

-- owner: jobs
-- Held is what nobody waits for: jobs of tenants that are not active, of sources that are paused and of private ones whose
-- owner may not have them, and the next runs of sources that refresh themselves.
create or replace function count_jobs()
returns table (waiting bigint, running bigint, later bigint, held bigint, oldest_seconds double precision)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select count(*) filter (where due and not leased and not held), count(*) filter (where leased),
           count(*) filter (where not due and not leased and not held), count(*) filter (where not leased and held),
           coalesce(extract(epoch from now() - min(due_at) filter (where due and not leased and not held)), 0)
    from (select j.due_at, j.due_at <= now() as due, coalesce(j.leased_until >= now(), false) as leased,
                 (j.kind in ('ingest', 'weigh', 'reshape', 'refresh') and t.status <> 'active')
                 or j.due_at = 'infinity' or (j.kind = 'refresh' and j.due_at > now())
                 or (j.kind = 'refresh' and j.owner_id is not null
                     and source_stands(j.tenant_id, j.subject_id) is false) as held
          from jobs j join tenants t on t.id = j.tenant_id) found
$$;

-- owner: jobs
-- Jobs that were held, as newcomers: they keep their order, and the first of them has the present turn.
create or replace function release_jobs(subjects uuid[])
returns void
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    behind bigint;
    last bigint;
begin
    select coalesce(min(others.turn), 0)
           - (select min(own.turn) from jobs own
              where own.tenant_id = tenant and own.kind = 'ingest' and own.subject_id = any (subjects)) into behind
    from jobs others where others.leased_until is null and others.due_at <= now() and others.due_at < 'infinity'
      and others.kind <> 'refresh'
      and (select a.status from tenants a where a.id = others.tenant_id) = 'active';
    with released as (
        update jobs j set due_at = now(), turn = j.turn + greatest(behind, 0)
        where j.tenant_id = tenant and j.kind = 'ingest' and j.subject_id = any (subjects) and j.due_at = 'infinity'
        returning j.turn
    )
    select max(r.turn) into last from released r;
    update job_turns t set turn = greatest(t.turn, last) where t.tenant_id = tenant and last is not null;
    perform pg_notify('carrel_jobs', tenant::text);
end
$$;

-- owner: jobs
-- Sources of active tenants whose places tell of changes, private ones while their owner may have them. `stamp` is another
-- one when the place is another one.
create or replace function listening_sources()
returns table (tenant_id uuid, source_id uuid, owner_id uuid, stamp text)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select s.tenant_id, s.id, s.owner_id, md5(s.place::text) from sources s
    where s.deleted_at is null and s.paused_at is null and s.place is not null
      and (s.kind = 'folder' or (s.kind = 's3' and s.place ->> 'queue' is not null))
      and (select t.status from tenants t where t.id = s.tenant_id) = 'active'
      and (s.owner_id is null or source_stands(s.tenant_id, s.id))
$$;

-- owner: jobs
-- Sources with a schedule and without a next run: whoever was to ask for it has died.
create or replace function lost_schedules()
returns table (tenant_id uuid, source_id uuid, owner_id uuid)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select s.tenant_id, s.id, s.owner_id from sources s
    where s.deleted_at is null and s.paused_at is null and s.schedule is not null and s.place is not null
      and (select t.status from tenants t where t.id = s.tenant_id) = 'active'
      and (s.owner_id is null or source_stands(s.tenant_id, s.id))
      and not exists (select from jobs j where j.tenant_id = s.tenant_id and j.kind = 'refresh' and j.subject_id = s.id)
$$;

-- owner: jobs
-- Which of these blobs a version names, whoever owns it. Names only, and only those that the caller knew already.
create or replace function named_blobs(blobs text[])
returns setof text
language sql stable security definer set search_path = carrel, pg_temp as $$
    select v.blob_key from document_versions v
    where v.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and v.blob_key = any (blobs)
    union all
    select f.blob_key from brought_files f
    where f.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and f.blob_key = any (blobs)
$$;

-- owner: index
-- Whoever writes entries holds the tenant's layout as it is until the commit: see turn_layout. True where no foreign key
-- guards what was written: then the caller makes sure that the version is still there.
create or replace function put_dense(generation uuid, chunk_ids uuid[], source_ids uuid[], version_ids uuid[], embeddings halfvec[])
returns boolean
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    layout text;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended(tenant::text, 0));
    select l.state into layout from layouts l where l.tenant_id = tenant;
    if layout is distinct from 'dedicated' then
        insert into dense_entries (tenant_id, chunk_id, generation_id, source_id, version_id, embedding)
        select tenant, c, generation, s, v, e
        from unnest(chunk_ids, source_ids, version_ids, embeddings) as entry (c, s, v, e)
        on conflict (tenant_id, chunk_id) do update set embedding = excluded.embedding;
    end if;
    if layout in ('promoting', 'dedicated', 'demoting') then
        execute format('insert into %s (tenant_id, chunk_id, generation_id, source_id, version_id, embedding)
                        select $1, c, $2, s, v, e from unnest($3, $4, $5, $6) as entry (c, s, v, e)
                        on conflict (tenant_id, chunk_id) do update set embedding = excluded.embedding',
                       own_table('dense', tenant))
        using tenant, generation, chunk_ids, source_ids, version_ids, embeddings;
    end if;
    return layout is not distinct from 'dedicated';
end
$$;

-- owner: index
-- The layout is read in the same snapshot as the entries, so a switch is seen whole or not at all. Of a dedicated tenant
-- few candidates are compared one by one (what is left by a filter, or a small source); many are walked by HNSW, which
-- goes on until `most` of them pass the filter.
create or replace function search_dense(generation uuid, question halfvec, allowed uuid[], only_versions uuid[], most integer)
returns table (chunk_id uuid, score double precision)
language plpgsql stable security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    few constant integer := 4000;
    candidates text;
    counted integer;
begin
    if not exists (select from layouts l where l.tenant_id = tenant and l.state in ('dedicated', 'demoting')) then
        return query
        select found.chunk_id, -found.distance from (
            select d.chunk_id, d.embedding <#> question as distance from dense_entries d
            where d.tenant_id = tenant and d.generation_id = generation and d.source_id = any (allowed)
              and (only_versions is null or d.version_id = any (only_versions)) offset 0
        ) found
        order by found.distance, found.chunk_id limit most;
        return;
    end if;
    candidates := format('from %s where tenant_id = $1 and generation_id = $2 and source_id = any ($3)',
                         own_table('dense', tenant));
    if only_versions is not null then
        candidates := candidates || ' and version_id = any ($4)';
    end if;
    execute format('select count(*) from (select %s limit %s) found', candidates, few)
    into counted using tenant, generation, allowed, only_versions;
    if counted < few then
        return query execute format(
            'with found as materialized (select chunk_id, embedding <#> $5 as distance %s)
             select chunk_id, -distance from found order by distance, chunk_id limit $6', candidates)
        using tenant, generation, allowed, only_versions, question, most;
        return;
    end if;
    perform set_config('hnsw.iterative_scan', 'strict_order', true),
            set_config('hnsw.ef_search', least(greatest(2 * most, 400), 1000)::text, true);
    return query execute format(
        'select chunk_id, -distance from (select chunk_id, embedding <#> $5 as distance %s
                                          order by embedding <#> $5 limit $6) found
         order by distance, chunk_id', candidates)
    using tenant, generation, allowed, only_versions, question, most;
end
$$;

-- owner: index
create or replace function forget_dense(version uuid)
returns void
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended(tenant::text, 0));
    delete from dense_entries where tenant_id = tenant and version_id = version;
    if exists (select from layouts l where l.tenant_id = tenant and l.state in ('promoting', 'dedicated', 'demoting')) then
        execute format('delete from %s where tenant_id = $1 and version_id = $2', own_table('dense', tenant))
        using tenant, version;
    end if;
end
$$;

-- owner: index
create or replace function count_dense(generation uuid)
returns bigint
language plpgsql stable security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    counted bigint;
begin
    if exists (select from layouts l where l.tenant_id = tenant and l.state in ('dedicated', 'demoting')) then
        execute format('select count(*) from %s where tenant_id = $1 and generation_id = $2',
                       own_table('dense', tenant))
        into counted using tenant, generation;
        return counted;
    end if;
    return (select count(*) from dense_entries where tenant_id = tenant and generation_id = generation);
end
$$;

-- owner: index
create or replace function put_lexical(generation uuid, chunk_ids uuid[], source_ids uuid[], version_ids uuid[], term_vectors sparsevec[])
returns boolean
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    layout text;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended(tenant::text, 0));
    select l.state into layout from layouts l where l.tenant_id = tenant;
    if layout is distinct from 'dedicated' then
        insert into lexical_entries (tenant_id, chunk_id, generation_id, source_id, version_id, terms)
        select tenant, c, generation, s, v, t
        from unnest(chunk_ids, source_ids, version_ids, term_vectors) as entry (c, s, v, t)
        on conflict (tenant_id, chunk_id) do update set terms = excluded.terms;
    end if;
    if layout in ('promoting', 'dedicated', 'demoting') then
        execute format('insert into %s (tenant_id, chunk_id, generation_id, source_id, version_id, terms)
                        select $1, c, $2, s, v, t from unnest($3, $4, $5, $6) as entry (c, s, v, t)
                        on conflict (tenant_id, chunk_id) do update set terms = excluded.terms',
                       own_table('lexical', tenant))
        using tenant, generation, chunk_ids, source_ids, version_ids, term_vectors;
    end if;
    return layout is not distinct from 'dedicated';
end
$$;

-- owner: index
create or replace function put_lexical_profile(generation uuid, version uuid, chunk_count integer, term_ids bytea)
returns void
language sql volatile security definer set search_path = carrel, pg_temp as $$
    insert into lexical_profiles (tenant_id, version_id, generation_id, chunks, terms)
    values (nullif(current_setting('carrel.tenant', true), '')::uuid, version, generation, chunk_count, term_ids)
    on conflict (tenant_id, version_id, generation_id) do update set chunks = excluded.chunks, terms = excluded.terms
$$;

-- owner: index
-- `rarest` are those terms of the question that choose the candidates of a dedicated tenant; all terms rank them.
create or replace function search_lexical(generation uuid, question sparsevec, rarest sparsevec, allowed uuid[], only_versions uuid[], most integer)
returns table (chunk_id uuid, score double precision)
language plpgsql stable security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
begin
    if not exists (select from layouts l where l.tenant_id = tenant and l.state in ('dedicated', 'demoting')) then
        return query
        select found.chunk_id, found.score from (
            select l.chunk_id, -(l.terms <#> question) as score from lexical_entries l
            where l.tenant_id = tenant and l.generation_id = generation and l.source_id = any (allowed)
              and (only_versions is null or l.version_id = any (only_versions)) offset 0
        ) found
        where found.score > 0 order by found.score desc, found.chunk_id limit most;
        return;
    end if;
    return query execute format(
        'with found as materialized (
             select chunk_id, -(terms <#> $5) as score from %s
             where tenant_id = $1 and generation_id = $2 and source_id = any ($3) %s and term_ids(terms) && $6)
         select chunk_id, score from found where score > 0 order by score desc, chunk_id limit $7',
        own_table('lexical', tenant),
        case when only_versions is null then '' else 'and version_id = any ($4)' end)
    using tenant, generation, allowed, only_versions, question, term_ids(rarest), most;
end
$$;

-- owner: index
create or replace function forget_lexical(version uuid)
returns void
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended(tenant::text, 0));
    delete from lexical_entries where tenant_id = tenant and version_id = version;
    delete from lexical_profiles where tenant_id = tenant and version_id = version;
    if exists (select from layouts l where l.tenant_id = tenant and l.state in ('promoting', 'dedicated', 'demoting')) then
        execute format('delete from %s where tenant_id = $1 and version_id = $2', own_table('lexical', tenant))
        using tenant, version;
    end if;
end
$$;

-- owner: index
create or replace function lexical_profiles_of(generation uuid)
returns table (chunks integer, terms bytea)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select p.chunks, p.terms from lexical_profiles p
    where p.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and p.generation_id = generation
$$;

-- owner: index
create or replace function put_lexical_stats(generation uuid, chunk_count integer, term_ids bytea, term_counts bytea)
returns void
language sql volatile security definer set search_path = carrel, pg_temp as $$
    insert into lexical_stats as s (tenant_id, generation_id, revision, chunks, terms, counts)
    values (nullif(current_setting('carrel.tenant', true), '')::uuid, generation, 1, chunk_count, term_ids, term_counts)
    on conflict (tenant_id, generation_id) do update
    set revision = s.revision + 1, chunks = excluded.chunks, terms = excluded.terms, counts = excluded.counts
$$;

-- owner: index
create or replace function lexical_stats_revision(generation uuid)
returns bigint
language sql stable security definer set search_path = carrel, pg_temp as $$
    select coalesce((select s.revision from lexical_stats s
                     where s.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid
                       and s.generation_id = generation), 0)
$$;

-- owner: index
create or replace function lexical_stats_of(generation uuid)
returns table (revision bigint, chunks integer, terms bytea, counts bytea)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select s.revision, s.chunks, s.terms, s.counts from lexical_stats s
    where s.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and s.generation_id = generation
$$;

-- owner: jobs
-- Answers are private to who asked, but a deleted document must vanish from everybody's: what quotes it is replaced, and
-- what only names it, or was asked after hearing of it, forgets that. How many quoted it.
create or replace function redact_answers(document uuid, replacement text)
returns integer
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    quoted uuid[];
    redacted integer;
begin
    update messages m set guidance = '{}'
    where m.tenant_id = tenant and m.guidance <> '{}'
      and exists (select from citations c where c.tenant_id = m.tenant_id and c.message_id = m.id
                                           and c.document_id = document);
    with removed as (
        update messages m set status = 'removed', answer = replacement, unsupported = '{}'
        where m.tenant_id = tenant and m.status <> 'removed'
          and exists (select from citations c where c.tenant_id = m.tenant_id and c.message_id = m.id
                                               and c.document_id = document and c.n > 0)
        returning m.chat_id
    )
    select count(*), array_agg(distinct r.chat_id) into redacted, quoted from removed r;
    update messages m set asked = null where m.tenant_id = tenant and m.chat_id = any (quoted) and m.asked is not null;
    return redacted;
end
$$;

-- owner: index
-- A twin's vectors are its sibling's: the same text gives the same vector. How many were copied, and what put says.
create or replace function copy_dense(generation uuid, from_chunks uuid[], to_chunks uuid[], source uuid, version uuid)
returns table (copied bigint, unguarded boolean)
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    layout text;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended(tenant::text, 0));
    select l.state into layout from layouts l where l.tenant_id = tenant;
    copied := 0;
    unguarded := layout is not distinct from 'dedicated';
    if not unguarded then
        insert into dense_entries (tenant_id, chunk_id, generation_id, source_id, version_id, embedding)
        select d.tenant_id, pair.new, generation, source, version, d.embedding
        from unnest(from_chunks, to_chunks) as pair (old, new)
        join dense_entries d on d.chunk_id = pair.old and d.generation_id = generation and d.tenant_id = tenant
        on conflict (tenant_id, chunk_id) do update set embedding = excluded.embedding;
        get diagnostics copied = row_count;
    end if;
    if layout in ('promoting', 'dedicated', 'demoting') then
        execute format('insert into %1$s (tenant_id, chunk_id, generation_id, source_id, version_id, embedding)
                        select d.tenant_id, pair.new, $2, $5, $6, d.embedding
                        from unnest($3, $4) as pair (old, new)
                        join %2$s d on d.chunk_id = pair.old and d.generation_id = $2 and d.tenant_id = $1
                        on conflict (tenant_id, chunk_id) do update set embedding = excluded.embedding',
                       own_table('dense', tenant),
                       case when layout = 'promoting' then 'dense_entries' else own_table('dense', tenant) end)
        using tenant, generation, from_chunks, to_chunks, source, version;
        get diagnostics copied = row_count;
    end if;
    return next;
end
$$;

-- owner: index
-- A tenant's own tables have no foreign key: one for each would make every deletion of a chunk visit all of them. So who
-- deletes chunks calls this in the same transaction.
create or replace function forget_own(versions uuid[])
returns void
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    kind text;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended(tenant::text, 0));
    if exists (select from layouts l where l.tenant_id = tenant and l.state in ('promoting', 'dedicated', 'demoting')) then
        foreach kind in array array['dense', 'lexical'] loop
            execute format('delete from %s where tenant_id = $1 and version_id = any ($2)', own_table(kind, tenant))
            using tenant, versions;
        end loop;
    end if;
end
$$;

-- owner: index
-- What the index tables still hold of these versions, shared and own: nothing, once they were forgotten.
create or replace function entries_left(versions uuid[])
returns bigint
language plpgsql stable security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    kind text;
    more bigint;
    counted bigint;
begin
    counted := (select count(*) from dense_entries d where d.tenant_id = tenant and d.version_id = any (versions))
             + (select count(*) from lexical_entries l where l.tenant_id = tenant and l.version_id = any (versions))
             + (select count(*) from lexical_profiles p where p.tenant_id = tenant and p.version_id = any (versions));
    if exists (select from layouts l where l.tenant_id = tenant and l.state in ('promoting', 'dedicated', 'demoting')) then
        foreach kind in array array['dense', 'lexical'] loop
            execute format('select count(*) from %s where tenant_id = $1 and version_id = any ($2)', own_table(kind, tenant))
            into more using tenant, versions;
            counted := counted + more;
        end loop;
    end if;
    return counted;
end
$$;

-- owner: index
-- How the tenant's entries lie, what its operator asked for, how many chunks were counted last. `settled`: the last
-- change is so long ago that no search which saw the former layout can still run.
create or replace function layout_of()
returns table (state text, asked text, chunks integer, settled boolean)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select coalesce(l.state, 'pooled'), t.isolation_asked,
           coalesce((select max(s.chunks) from lexical_stats s where s.tenant_id = t.id), 0),
           coalesce(l.changed_at < now() - interval '1 minute', true)
    from tenants t left join layouts l on l.tenant_id = t.id
    where t.id = nullif(current_setting('carrel.tenant', true), '')::uuid
$$;

-- owner: index
-- Two empty tables that can hold rows of this tenant only; nobody reads or writes them yet. False if they are there.
create or replace function open_own()
returns boolean
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    kind text;
    own text;
begin
    perform pg_advisory_xact_lock(hashtextextended(tenant::text, 0));
    insert into layouts (tenant_id, state) values (tenant, 'filling') on conflict do nothing;
    if not found then
        return false;
    end if;
    foreach kind in array array['dense', 'lexical'] loop
        own := own_table(kind, tenant);
        execute format('drop table if exists %s', own);
        execute format('create table %s (tenant_id uuid not null check (tenant_id = %L), chunk_id uuid not null,
                            generation_id uuid not null, source_id uuid not null, version_id uuid not null, %s not null,
                            primary key (tenant_id, chunk_id))
                        with (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05)',
                       own, tenant, case kind when 'lexical' then 'terms sparsevec(536870911)'
                                              else 'embedding halfvec' end);
        execute format('alter table %s alter column %s set storage main, enable row level security,
                        force row level security', own, case kind when 'lexical' then 'terms' else 'embedding' end);
        execute format('create policy definer_index on %s to %I using (true) with check (true)', own, current_user);
    end loop;
    return true;
end
$$;

-- owner: index
-- How long the vectors of a tenant's own table are, which its HNSW index must know; null while nothing says so. Asked when
-- the table is made and when the tenant's first document comes, whichever is later: the lock puts one after the other.
create or replace function shape_own(dimension integer)
returns void
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    dense constant text := own_table('dense', tenant);
begin
    perform pg_advisory_xact_lock(hashtextextended(tenant::text, 0));
    if dimension is null or not exists (select from layouts l where l.tenant_id = tenant) then
        return;
    end if;
    execute format('lock table %s in access exclusive mode', dense);
    if exists (select from pg_attribute a where a.attrelid = dense::regclass and a.attname = 'embedding' and a.atttypmod > 0) then
        return;
    end if;
    execute format('alter table %s alter column embedding type halfvec(%s), alter column embedding set storage main',
                   dense, dimension);
    if exists (select from pg_index i where i.indrelid = dense::regclass and not i.indisprimary) then
        execute format('create index on %s using hnsw (embedding halfvec_ip_ops) with (m = 32, ef_construction = 128)', dense);
    end if;
end
$$;

-- owner: index
-- The indexes of the own tables, built at once while nobody else touches them: many times faster than row by row.
create or replace function index_own(memory text)
returns void
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    dense constant text := own_table('dense', tenant);
    lexical constant text := own_table('lexical', tenant);
begin
    if not exists (select from layouts l where l.tenant_id = tenant and l.state = 'filling') then
        return;
    end if;
    perform set_config('maintenance_work_mem', memory, true), set_config('max_parallel_maintenance_workers', '0', true);
    if not exists (select from pg_index i where i.indrelid = lexical::regclass and not i.indisprimary) then
        execute format('create index on %s (source_id)', dense);
        execute format('create index on %s (version_id)', dense);
        if exists (select from pg_attribute a where a.attrelid = dense::regclass and a.attname = 'embedding'
                   and a.atttypmod > 0) then
            execute format('create index on %s using hnsw (embedding halfvec_ip_ops)
                            with (m = 32, ef_construction = 128)', dense);
        end if;
        execute format('create index on %s (source_id)', lexical);
        execute format('create index on %s (version_id)', lexical);
        execute format('create index on %s using gin (term_ids(terms)) with (fastupdate = off)', lexical);
    end if;
    execute format('analyze %s, %s', dense, lexical);
end
$$;

-- owner: index
-- Makes the next `most` entries after a chunk alike on the side that is being built: own tables while they are filled and
-- promoted, pooled ones while the tenant is demoted. Returns the last chunk it looked at, null when it was the end.
create or replace function reconcile_own(kind text, after uuid, most integer)
returns uuid
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    own constant text := own_table(case kind when 'lexical' then 'lexical' else 'dense' end, tenant);
    pooled constant text := case kind when 'lexical' then 'lexical_entries' else 'dense_entries' end;
    what constant text := case kind when 'lexical' then 'terms' else 'embedding' end;
    layout text;
    truth text;
    built text;
    upto uuid;
begin
    select l.state into layout from layouts l where l.tenant_id = tenant;
    if layout in ('filling', 'promoting') then
        truth := pooled;
        built := own;
    elsif layout = 'demoting' then
        truth := own;
        built := pooled;
    else
        return null;
    end if;
    execute format('select chunk_id from %s where tenant_id = $1 and ($2 is null or chunk_id > $2)
                    order by chunk_id offset $3 - 1 limit 1', truth) into upto using tenant, after, most;
    execute format('delete from %s b where b.tenant_id = $1 and ($2 is null or b.chunk_id > $2)
                    and ($3 is null or b.chunk_id <= $3)
                    and not exists (select from %s t where t.tenant_id = $1 and t.chunk_id = b.chunk_id
                                    and t.%3$I = b.%3$I)', built, truth, what) using tenant, after, upto;
    -- The lock on pooled rows makes a deletion wait, so that it deletes the copies too. Own rows need none: the copies
    -- get a foreign key, which waits for the deletion.
    execute format('insert into %1$s (tenant_id, chunk_id, generation_id, source_id, version_id, %3$I)
                    select t.tenant_id, t.chunk_id, t.generation_id, t.source_id, t.version_id, t.%3$I from %2$s t
                    where t.tenant_id = $1 and ($2 is null or t.chunk_id > $2) and ($3 is null or t.chunk_id <= $3)
                      and not exists (select from %1$s b where b.tenant_id = $1 and b.chunk_id = t.chunk_id)
                    order by t.chunk_id %4$s on conflict do nothing',
                   built, truth, what, case when truth = pooled then 'for share of t' else '' end)
    using tenant, after, upto;
    return upto;
end
$$;

-- owner: index
-- From one layout to the next, in one transaction that waits for those who write this tenant's entries. False when the
-- tenant is not in `former`, or when what was built is not yet like what it was built from.
create or replace function turn_layout(former text, following text)
returns boolean
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    dense constant text := own_table('dense', tenant);
    lexical constant text := own_table('lexical', tenant);
    alike boolean;
begin
    if (former, following) not in (('filling', 'promoting'), ('promoting', 'dedicated'), ('dedicated', 'demoting'),
                                   ('demoting', 'leaving'), ('demoting', 'dedicated'), ('filling', 'leaving'),
                                   ('promoting', 'leaving')) then
        raise exception 'From % to % there is no way.', former, following;
    end if;
    perform pg_advisory_xact_lock(hashtextextended(tenant::text, 0));
    if not exists (select from layouts l where l.tenant_id = tenant and l.state = former) then
        return false;
    end if;
    if (former, following) in (('promoting', 'dedicated'), ('demoting', 'leaving')) then
        execute format('select (select count(*) from %s) = (select count(*) from dense_entries where tenant_id = $1)
                           and (select count(*) from %s) = (select count(*) from lexical_entries where tenant_id = $1)',
                       dense, lexical) into alike using tenant;
        if not alike then
            return false;
        end if;
    end if;
    update layouts set state = following, changed_at = now() where tenant_id = tenant;
    update tenants set isolation = case when following in ('dedicated', 'demoting') then 'dedicated' else 'pooled' end
    where id = tenant;
    return true;
end
$$;

-- owner: index
-- What a dedicated tenant left behind in the pooled tables; nobody reads it any more. How many are gone now.
create or replace function clear_pooled(most integer)
returns bigint
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    vectors bigint;
    words bigint;
begin
    if not exists (select from layouts l where l.tenant_id = tenant and l.state = 'dedicated') then
        return 0;
    end if;
    delete from dense_entries d where d.tenant_id = tenant and d.chunk_id = any (array(
        select o.chunk_id from dense_entries o where o.tenant_id = tenant limit most));
    get diagnostics vectors = row_count;
    delete from lexical_entries l where l.tenant_id = tenant and l.chunk_id = any (array(
        select o.chunk_id from lexical_entries o where o.tenant_id = tenant limit most));
    get diagnostics words = row_count;
    return vectors + words;
end
$$;

-- owner: index
-- The own tables of a tenant that is pooled again. False while a search may still read them.
create or replace function close_own()
returns boolean
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
begin
    perform pg_advisory_xact_lock(hashtextextended(tenant::text, 0));
    delete from layouts l where l.tenant_id = tenant and l.state = 'leaving' and l.changed_at < now() - interval '1 minute';
    if not found then
        return false;
    end if;
    execute format('drop table if exists %s, %s', own_table('dense', tenant), own_table('lexical', tenant));
    return true;
end
$$;

-- owner: jobs
-- The tenants of whose audit events some are older than `margin` and newer than the last seal. Ids only, asked for all
-- tenants at once: most have nothing new.
create or replace function unsealed(margin interval)
returns setof uuid
language sql stable security definer set search_path = carrel, pg_temp as $$
    select t.id from tenants t
    where exists (
        select from audit_events e
        where e.tenant_id = t.id and e.created_at < clock_timestamp() - margin
          and (e.created_at, e.id) > (
              select coalesce(max(l.event_at), '-infinity'),
                     coalesce((array_agg(l.event_id))[1], '00000000-0000-0000-0000-000000000000')
              from (select s.event_at, s.event_id from audit_seals s
                    where s.tenant_id = t.id order by s.position desc limit 1) l))
$$;

-- owner: jobs
-- A tenant is suspended, resumed or given up; the last is for ever, and opens the receipt. What it was before, null where
-- there is none or where it was given up already.
create or replace function turn_tenant(wanted text, credential uuid)
returns text
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    former text;
begin
    select t.status into former from tenants t where t.id = tenant and t.status <> 'deleting' for no key update;
    if former is null or former = wanted then
        return former;
    end if;
    update tenants set status = wanted where id = tenant;
    if wanted = 'deleting' then
        insert into tenant_receipts as r (id, requested_by, credential_id)
        values (tenant, nullif(current_setting('carrel.user', true), '')::uuid, credential)
        on conflict (id) do update set requested_by = excluded.requested_by, credential_id = excluded.credential_id,
            requested_at = now(), destroyed = '{}', completed_at = null;
    end if;
    return former;
end
$$;

-- owner: jobs
create or replace function rename_tenant(new_name text)
returns boolean
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
begin
    update tenants t set name = new_name
    where t.id = nullif(current_setting('carrel.tenant', true), '')::uuid and t.status <> 'deleting';
    return found;
end
$$;

-- owner: jobs
-- Who has something private in the tenant: ids only, for whoever may act as each of them in turn.
create or replace function owners_of_private()
returns setof uuid
language sql stable security definer set search_path = carrel, pg_temp as $$
    select s.owner_id from sources s
    where s.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and s.owner_id is not null
    union
    select c.owner_id from chats c where c.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid
    union
    select f.owner_id from brought_files f where f.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid
$$;

-- owner: jobs
-- Destroys the next `most` rows of a tenant that was given up, whoever owns them: the policies of this function's owner
-- show it no other rows. Secrets first, then what nothing else refers to. No row when nothing is left; the job that does
-- this goes with the tenant itself.
create or replace function destroy_rows(most integer)
returns table (relation text, gone bigint)
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    at_first constant text[] := array['tenant_keys', 'provider_credentials', 'api_keys', 'memberships', 'jobs'];
    at_last constant text[] := array['citations', 'messages', 'chats', 'chunks', 'documents', 'bot_sources', 'bots',
                                     'sources', 'generations'];
    by_index constant text[] := array['layouts', 'lexical_profiles', 'lexical_stats'];
    later bigint;
begin
    if not exists (select from tenants t where t.id = tenant and t.status = 'deleting') then
        return;
    end if;
    foreach relation in array at_first || array(
        select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
        where c.relnamespace = 'carrel'::regnamespace and c.relkind = 'r' and not c.relispartition
          and c.relname <> all (at_first || at_last || by_index) and c.relname <> 'document_versions'
        order by c.relname) || at_last
    loop
        if relation = 'documents' then  -- each refers to the other, so they go in one statement
            with chosen as (
                delete from documents d where d.ctid = any (array(
                    select o.ctid from documents o where o.tenant_id = tenant limit most)) returning d.id
            ), versions as (
                delete from document_versions v using chosen c where v.tenant_id = tenant and v.document_id = c.id
                returning 1
            )
            select (select count(*) from chosen), (select count(*) from versions) into gone, later;
            if gone > 0 then
                return next;
                relation := 'document_versions';
                gone := later;
                return next;
                return;
            end if;
            continue;
        end if;
        execute format('delete from %1$I d where d.ctid = any (array(
                            select o.ctid from %1$I o where o.tenant_id = $1 %2$s limit $2))',
                       relation, case relation when 'jobs' then 'and o.kind <> ''destroy''' else '' end)
        using tenant, most;
        get diagnostics gone = row_count;
        if gone > 0 then
            return next;
            return;
        end if;
    end loop;
end
$$;

-- owner: jobs
-- What a tenant that was given up still has, table by table; tables that are empty are not named.
create or replace function left_rows()
returns table (relation text, amount bigint)
language plpgsql stable security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
begin
    for relation in
        select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
        where c.relnamespace = 'carrel'::regnamespace and c.relkind = 'r' and not c.relispartition
          and c.relname not in ('layouts', 'lexical_profiles', 'lexical_stats')
    loop
        execute format('select count(*) from %I where tenant_id = $1 %s', relation,
                       case relation when 'jobs' then 'and kind <> ''destroy''' else '' end)
        into amount using tenant;
        if amount > 0 then
            return next;
        end if;
    end loop;
end
$$;

-- owner: jobs
-- Adds to what the receipt counts. What is counted before it goes, and so perhaps twice, is a total: the highest stays.
create or replace function note_destroyed(what text, amount bigint, is_total boolean)
returns void
language sql volatile security definer set search_path = carrel, pg_temp as $$
    update tenant_receipts r
    set destroyed = r.destroyed || jsonb_build_object(what, case
        when is_total then greatest(coalesce((r.destroyed ->> what)::bigint, 0), amount)
        else coalesce((r.destroyed ->> what)::bigint, 0) + amount end)
    where r.id = nullif(current_setting('carrel.tenant', true), '')::uuid and r.completed_at is null
$$;

-- owner: jobs
-- The end: the tenant's own row, and the receipt is complete. False when some table still refers to it.
create or replace function bury_tenant()
returns boolean
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
begin
    perform from tenants t where t.id = tenant and t.status = 'deleting' for update;
    if not found then
        return false;
    end if;
    delete from jobs where tenant_id = tenant;
    delete from job_turns where tenant_id = tenant;
    delete from tenants where id = tenant;
    update tenant_receipts set completed_at = now() where id = tenant;
    return true;
exception when foreign_key_violation then
    return false;
end
$$;

-- owner: index
-- Destroys the next `most` entries of a tenant that was given up, and its own tables whole.
create or replace function destroy_entries(most integer)
returns table (relation text, gone bigint)
language plpgsql volatile security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    kind text;
    own text;
begin
    if not exists (select from tenants t where t.id = tenant and t.status = 'deleting') then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtextextended(tenant::text, 0));
    foreach kind in array array['dense', 'lexical'] loop
        own := own_table(kind, tenant);
        if to_regclass(own) is not null then
            execute format('select count(*) from %s', own) into gone;
            execute format('drop table %s', own);
            relation := case kind when 'lexical' then 'lexical_entries' else 'dense_entries' end;
            return next;
        end if;
    end loop;
    delete from layouts l where l.tenant_id = tenant;
    foreach relation in array array['dense_entries', 'lexical_entries', 'lexical_profiles', 'lexical_stats'] loop
        execute format('delete from %1$I d where d.tenant_id = $1 and d.%2$I = any (array(
                            select o.%2$I from %1$I o where o.tenant_id = $1 limit $2))',
                       relation, case relation when 'lexical_profiles' then 'version_id'
                                               when 'lexical_stats' then 'generation_id' else 'chunk_id' end)
        using tenant, most;
        get diagnostics gone = row_count;
        if gone > 0 then
            return next;
            return;
        end if;
    end loop;
end
$$;

-- owner: index
-- What a tenant still has in the index tables, shared and own.
create or replace function left_entries()
returns bigint
language plpgsql stable security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
begin
    return (select count(*) from dense_entries d where d.tenant_id = tenant)
         + (select count(*) from lexical_entries e where e.tenant_id = tenant)
         + (select count(*) from lexical_profiles p where p.tenant_id = tenant)
         + (select count(*) from lexical_stats s where s.tenant_id = tenant)
         + (select count(*) from layouts l where l.tenant_id = tenant)
         + (select count(*) from unnest(array['dense', 'lexical']) kind
            where to_regclass(own_table(kind, tenant)) is not null);
end
$$;

-- owner: jobs
-- What a tenant keeps, private documents and versions included: nobody's own transaction sees them all.
create or replace function count_stored()
returns table (documents bigint, bytes bigint)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select (select count(*) from documents d
            where d.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and d.deleted_at is null),
           (select coalesce(sum(v.size), 0)::bigint from document_versions v
            where v.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid)
           + (select coalesce(sum(f.size), 0)::bigint from brought_files f
              where f.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid)
$$;

-- owner: jobs
-- Chats that nobody used for so many days go with all that is in them, whoever owns them. How many, at most `most`.
create or replace function forget_chats(days integer, most integer)
returns bigint
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    gone bigint;
begin
    delete from chats c where c.tenant_id = tenant and c.ctid = any (array(
        select o.ctid from chats o where o.tenant_id = tenant and o.updated_at < now() - make_interval(days => days)
        order by o.updated_at limit most));
    get diagnostics gone = row_count;
    return gone;
end
$$;

-- owner: jobs
-- How often a tenant's answers were called good or bad, by bot: numbers alone, whoever said it.
create or replace function count_feedback(first timestamptz, last timestamptz)
returns table (bot_id uuid, ups bigint, downs bigint)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select f.bot_id, count(*) filter (where f.rating = 'up'), count(*) filter (where f.rating = 'down')
    from feedback f
    where f.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid
      and f.created_at >= first and f.created_at < last
    group by f.bot_id
$$;

-- owner: jobs
-- How many of a tenant's answers had to do without their model, of how many, since an id: numbers alone, whoever asked.
create or replace function count_degraded(since uuid)
returns table (degraded bigint, answers bigint)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select count(*) filter (where m.status = 'degraded'), count(*) from messages m
    where m.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and m.id >= since
$$;

-- owner: jobs
-- The versions and the brought files whose bytes nobody has read for the longest time, whoever owns them: of what was not
-- read for half of the days, as many as are still missing to the last day's share of all. What was found missing or
-- damaged is looked at daily. That `kept` has no condition of its own lets it be read in the order of the tables' indexes.
create or replace function due_contents(days integer, most integer)
returns table (version_id uuid, document_id uuid, file_id uuid, owner_id uuid, blob_key text, size bigint,
               fingerprint bytea)
language sql stable security definer set search_path = carrel, pg_temp as $$
    with kept as not materialized (
        select v.tenant_id, v.id as version_id, v.document_id, null::uuid as file_id, v.owner_id, v.blob_key, v.size,
               v.fingerprint, v.content_code, v.checked_at, coalesce(v.checked_at, v.created_at) as seen_at
        from document_versions v
        union all
        select f.tenant_id, null, null, f.id, f.owner_id, f.blob_key, f.size,
               f.sha256, f.content_code, f.checked_at, coalesce(f.checked_at, f.created_at)
        from brought_files f
    )
    (select k.version_id, k.document_id, k.file_id, k.owner_id, k.blob_key, k.size, k.fingerprint from kept k
     where k.content_code is not null and k.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid
       and k.checked_at < now() - interval '1 day'
     order by k.checked_at limit most)
    union all
    (select k.version_id, k.document_id, k.file_id, k.owner_id, k.blob_key, k.size, k.fingerprint from kept k
     where k.content_code is null and k.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid
       and k.seen_at < now() - make_interval(hours => days * 12)
     order by k.seen_at, k.version_id, k.file_id
     limit (select least(most, greatest(0, (count(*) + days - 1) / days
                                           - count(*) filter (where s.checked_at > now() - interval '1 day')))
            from kept s
            where s.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and s.content_code is null))
$$;

-- owner: jobs
-- How many of a tenant's versions and files have lost their bytes, have others than were brought, or have some that
-- cannot be read: numbers alone.
create or replace function count_contents()
returns table (versions bigint, missing bigint, damaged bigint, unreadable bigint)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select count(*), count(*) filter (where k.content_code = 'content_missing'),
           count(*) filter (where k.content_code = 'content_damaged'),
           count(*) filter (where k.content_code = 'content_unreadable')
    from (
        select v.content_code from document_versions v
        where v.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid
        union all
        select f.content_code from brought_files f
        where f.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid
    ) k
$$;

-- owner: jobs
-- Deliveries that are due, of active tenants and enabled webhooks, each leased. Fair: of one webhook `each` are in flight
-- at most, of one tenant twice as many, and whoever has fewer in flight comes first; webhooks that fail, or that are slow,
-- have one in flight and share `most_doubtful` places. What was announced before a webhook was switched off is not told.
-- Looks at the webhooks for which anything waits, from one to the next by the index, and at no other row. One worker
-- claims at a time: another one finds nothing and comes again.
create or replace function claim_deliveries(most integer, most_doubtful integer, each integer, lease interval)
returns table (tenant_id uuid, id uuid, webhook_id uuid, attempts integer, lease_epoch bigint, doubtful boolean)
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended('the deliveries', 0)) then
        return;
    end if;
    return query
    with recursive waiting (tenant, webhook) as (
        (select d.tenant_id, d.webhook_id from deliveries d where d.state = 'waiting'
         order by d.tenant_id, d.webhook_id limit 1)
        union all
        select n.tenant_id, n.webhook_id from waiting w cross join lateral (
            select d.tenant_id, d.webhook_id from deliveries d
            where d.state = 'waiting' and (d.tenant_id, d.webhook_id) > (w.tenant, w.webhook)
            order by d.tenant_id, d.webhook_id limit 1) n
    ), counted as (
        select w.tenant, w.webhook, h.period, h.failing_since is not null or h.slow as doubtful,
               (select count(*) from deliveries b where b.tenant_id = w.tenant and b.webhook_id = w.webhook
                and b.leased_until >= now()) as busy
        from waiting w join webhooks h on h.tenant_id = w.tenant and h.id = w.webhook and h.enabled
        join tenants t on t.id = w.tenant and t.status = 'active'
    ), due as (
        select c.tenant, c.doubtful, f.id, f.due_at,
               c.tenant_busy + row_number() over (partition by c.tenant order by f.place, f.due_at, f.id) as turn
        from (select o.*, sum(o.busy) over (partition by o.tenant) as tenant_busy from counted o) c
        cross join lateral (
            select d.id, d.due_at, row_number() over (order by d.due_at, d.id) as place from deliveries d
            where d.tenant_id = c.tenant and d.webhook_id = c.webhook and d.state = 'waiting' and d.due_at <= now()
              and d.period = c.period and (d.leased_until is null or d.leased_until < now())
            order by d.due_at, d.id limit greatest(case when c.doubtful then 1 else each end - c.busy, 0)) f
    ), ranked as (
        select d.*, row_number() over (partition by d.doubtful order by d.turn, d.due_at, d.id) as place
        from due d where d.turn <= 2 * each
    ), next as (
        select r.tenant, r.id, r.doubtful from ranked r where not r.doubtful or r.place <= most_doubtful
        order by r.turn, r.due_at, r.id limit most
    )
    update deliveries d set leased_until = now() + lease, lease_epoch = d.lease_epoch + 1, attempts = d.attempts + 1
    from next n where d.tenant_id = n.tenant and d.id = n.id and d.state = 'waiting'
    returning d.tenant_id, d.id, d.webhook_id, d.attempts, d.lease_epoch, n.doubtful;
end
$$;
