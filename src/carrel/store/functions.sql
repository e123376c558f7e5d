-- Every function that runs with more rights than its caller. A test compares the database with this file.
-- :auth, :index and :jobs are the NOLOGIN roles that own them. None takes a tenant: it is read from the transaction.

-- owner: auth
create or replace function find_key(key uuid)
returns table (kind text, tenant_id uuid, mac bytea, scopes text[], source_ids uuid[], bot_ids uuid[],
               expires_at timestamptz, expired boolean, revoked boolean, active boolean, stale boolean)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select 'api_key', k.tenant_id, k.mac, k.scopes,
           case when k.source_ids is null and k.bot_ids is null then null
                when k.bot_ids is null then k.source_ids
                else array(select distinct b.source_id from bot_sources b
                           where b.tenant_id = k.tenant_id and b.bot_id = any (k.bot_ids)
                             and (k.source_ids is null or b.source_id = any (k.source_ids))) end,
           k.bot_ids, k.expires_at, coalesce(k.expires_at <= now(), false), k.revoked_at is not null, t.status = 'active',
           coalesce(k.last_used_at < now() - interval '1 minute', true)
    from api_keys k join tenants t on t.id = k.tenant_id where k.id = key
    union all
    select 'operator_key', null, o.mac, '{}', null, null, o.expires_at, coalesce(o.expires_at <= now(), false),
           o.revoked_at is not null, true, coalesce(o.last_used_at < now() - interval '1 minute', true)
    from operator_keys o where o.id = key
$$;

-- owner: jobs
-- A start-time fair queueing tag (Goyal, Vin, Cheng 1996): a tenant that was idle starts at the present turn, one that
-- queues much pushes only its own jobs back. A job's cost is paid by its tenant's next one, so a large file of an idle
-- tenant waits no longer than a small one. Jobs that wait for their time do not hold the present back.
create or replace function enqueue_job(job uuid, job_kind text, subject uuid, owner uuid, delay interval, cost integer)
returns void
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
    present bigint;
    following bigint;
begin
    present := coalesce((select min(j.turn) from jobs j where j.leased_until is null and j.due_at <= now()),
                        (select max(t.turn) from job_turns t), 0);
    insert into job_turns as t (tenant_id, turn) values (tenant, present + cost)
    on conflict (tenant_id) do update set turn = greatest(t.turn, present) + cost
    returning t.turn into following;
    insert into jobs as j (tenant_id, id, kind, subject_id, owner_id, turn, due_at)
    values (tenant, job, job_kind, subject, owner, following - cost, now() + delay)
    on conflict (tenant_id, kind, subject_id) do update set asked_again = true, due_at = least(j.due_at, excluded.due_at);
    perform pg_notify('carrel_jobs', '');
end
$$;

-- owner: jobs
create or replace function claim_jobs(job_kinds text[], lease interval, most integer, passed_over uuid[])
returns table (tenant_id uuid, id uuid, kind text, subject_id uuid, owner_id uuid, attempts integer, lease_epoch bigint,
               orphaned boolean)
language plpgsql volatile security definer set search_path = carrel, pg_temp as $$
begin
    return query
    with next as (
        select j.tenant_id, j.id, j.leased_until is not null as orphaned from jobs j
        where j.kind = any (job_kinds) and j.due_at <= now() and (j.leased_until is null or j.leased_until < now())
          and j.tenant_id <> all (passed_over)
        order by j.turn, j.created_at limit most
        for update skip locked
    )
    update jobs j set lease_epoch = j.lease_epoch + 1, leased_until = now() + lease, asked_again = false
    from next n where j.tenant_id = n.tenant_id and j.id = n.id
    returning j.tenant_id, j.id, j.kind, j.subject_id, j.owner_id, j.attempts + 1, j.lease_epoch, n.orphaned;
end
$$;

-- owner: jobs
create or replace function count_jobs()
returns table (waiting bigint, running bigint, later bigint, oldest_seconds double precision)
language sql stable security definer set search_path = carrel, pg_temp as $$
    select count(*) filter (where due and not leased), count(*) filter (where leased),
           count(*) filter (where not due and not leased),
           coalesce(extract(epoch from now() - min(due_at) filter (where due and not leased)), 0)
    from (select j.due_at, j.due_at <= now() as due, coalesce(j.leased_until >= now(), false) as leased from jobs j) found
$$;

-- owner: jobs
-- Which of these blobs a version names, whoever owns it. Names only, and only those that the caller knew already.
create or replace function named_blobs(blobs text[])
returns setof text
language sql stable security definer set search_path = carrel, pg_temp as $$
    select v.blob_key from document_versions v
    where v.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and v.blob_key = any (blobs)
$$;

-- owner: index
create or replace function put_dense_384(generation uuid, chunk_ids uuid[], source_ids uuid[], version_ids uuid[], embeddings halfvec[])
returns void
language sql volatile security definer set search_path = carrel, public, pg_temp as $$
    insert into dense_entries_384 (tenant_id, chunk_id, generation_id, source_id, version_id, embedding)
    select nullif(current_setting('carrel.tenant', true), '')::uuid, c, generation, s, v, e
    from unnest(chunk_ids, source_ids, version_ids, embeddings) as entry (c, s, v, e)
    on conflict (tenant_id, chunk_id) do update set embedding = excluded.embedding
$$;

-- owner: index
create or replace function search_dense_384(generation uuid, question halfvec, allowed uuid[], only_versions uuid[], most integer)
returns table (chunk_id uuid, score double precision)
language plpgsql stable security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
begin
    return query
    select d.chunk_id, -(d.embedding <#> question) from dense_entries_384 d
    where d.tenant_id = tenant and d.generation_id = generation and d.source_id = any (allowed)
      and (only_versions is null or d.version_id = any (only_versions))
    order by d.embedding <#> question, d.chunk_id limit most;
end
$$;

-- owner: index
create or replace function forget_dense_384(version uuid)
returns void
language sql volatile security definer set search_path = carrel, public, pg_temp as $$
    delete from dense_entries_384
    where tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and version_id = version
$$;

-- owner: index
create or replace function count_dense_384(generation uuid)
returns bigint
language sql stable security definer set search_path = carrel, public, pg_temp as $$
    select count(*) from dense_entries_384
    where tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and generation_id = generation
$$;

-- owner: index
create or replace function put_lexical(generation uuid, chunk_ids uuid[], source_ids uuid[], version_ids uuid[], term_vectors sparsevec[])
returns void
language sql volatile security definer set search_path = carrel, public, pg_temp as $$
    insert into lexical_entries (tenant_id, chunk_id, generation_id, source_id, version_id, terms)
    select nullif(current_setting('carrel.tenant', true), '')::uuid, c, generation, s, v, t
    from unnest(chunk_ids, source_ids, version_ids, term_vectors) as entry (c, s, v, t)
    on conflict (tenant_id, chunk_id) do update set terms = excluded.terms
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
create or replace function search_lexical(generation uuid, question sparsevec, allowed uuid[], only_versions uuid[], most integer)
returns table (chunk_id uuid, score double precision)
language plpgsql stable security definer set search_path = carrel, public, pg_temp as $$
declare
    tenant constant uuid := nullif(current_setting('carrel.tenant', true), '')::uuid;
begin
    return query
    select found.chunk_id, found.score from (
        select l.chunk_id, -(l.terms <#> question) as score from lexical_entries l
        where l.tenant_id = tenant and l.generation_id = generation and l.source_id = any (allowed)
          and (only_versions is null or l.version_id = any (only_versions))
    ) found
    where found.score > 0 order by found.score desc, found.chunk_id limit most;
end
$$;

-- owner: index
create or replace function forget_lexical(version uuid)
returns void
language sql volatile security definer set search_path = carrel, public, pg_temp as $$
    delete from lexical_entries
    where tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and version_id = version;
    delete from lexical_profiles
    where tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and version_id = version
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
-- Answers are private to who asked, but a deleted document must vanish from everybody's.
create or replace function redact_answers(document uuid, replacement text)
returns integer
language sql volatile security definer set search_path = carrel, pg_temp as $$
    with redacted as (
        update messages m set status = 'removed', answer = replacement
        where m.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid and m.status <> 'removed'
          and exists (select from citations c where c.tenant_id = m.tenant_id and c.message_id = m.id
                                               and c.document_id = document)
        returning 1
    )
    select count(*)::integer from redacted
$$;

-- owner: index
-- A twin's vectors are its sibling's: the same text gives the same vector.
create or replace function copy_dense_384(generation uuid, from_chunks uuid[], to_chunks uuid[], source uuid, version uuid)
returns bigint
language sql volatile security definer set search_path = carrel, public, pg_temp as $$
    with copied as (
        insert into dense_entries_384 (tenant_id, chunk_id, generation_id, source_id, version_id, embedding)
        select d.tenant_id, pair.new, generation, source, version, d.embedding
        from unnest(from_chunks, to_chunks) as pair (old, new)
        join dense_entries_384 d on d.chunk_id = pair.old and d.generation_id = generation
         and d.tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid
        on conflict (tenant_id, chunk_id) do update set embedding = excluded.embedding
        returning 1
    )
    select count(*) from copied
$$;
