-- Roles, database and extension of Carrel. Run by psql as the superuser; running it again changes nothing.
\getenv database CARREL_DATABASE
\getenv owner CARREL_OWNER
\getenv owner_password CARREL_OWNER_PASSWORD
\getenv app CARREL_APP
\getenv app_password CARREL_APP_PASSWORD

set client_min_messages = warning;
-- Several processes may start at once. The lock ends with the session, that is at \connect and at the end.
select from pg_advisory_lock(hashtext('carrel.bootstrap'));

select format('create role %I login createrole nosuperuser nobypassrls nocreatedb password %L', :'owner', :'owner_password')
where not exists (select from pg_roles where rolname = :'owner') \gexec

-- It serves requests: what it may do is granted to it by name, nothing comes by membership.
select format('create role %I login nosuperuser nobypassrls nocreatedb nocreaterole noinherit password %L', :'app', :'app_password')
where not exists (select from pg_roles where rolname = :'app') \gexec

select format('create database %I owner %I', :'database', :'owner')
where not exists (select from pg_database where datname = :'database') \gexec

select format('revoke connect, temporary on database %I from public', datname)
from pg_database
where datname in (:'database', 'postgres', 'template1') and has_database_privilege('public', oid, 'connect, temporary') \gexec

select format('grant connect on database %I to %I', :'database', :'app')
where not has_database_privilege(:'app', :'database', 'connect') \gexec

\connect :"database"
set client_min_messages = warning;
select from pg_advisory_lock(hashtext('carrel.bootstrap'));

select 'create extension vector'
where not exists (select from pg_extension where extname = 'vector') \gexec

select 'alter extension vector update'
from pg_extension join pg_available_extensions on name = extname
where extname = 'vector' and extversion is distinct from default_version \gexec

select 'revoke all on schema public from public'
where has_schema_privilege('public', 'public', 'usage, create') \gexec

-- The type vector lives there.
select format('grant usage on schema public to %I', :'app')
where not has_schema_privilege(:'app', 'public', 'usage') \gexec
